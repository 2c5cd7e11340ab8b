"""Tests of the book on a PostgreSQL server of their own, which ends with them."""
