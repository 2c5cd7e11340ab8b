"""Tests of quotas.book.cycle."""
