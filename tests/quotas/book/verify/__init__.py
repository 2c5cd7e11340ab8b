"""Tests of quotas.book.verify."""
