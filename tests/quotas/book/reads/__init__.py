"""Tests of quotas.book.reads."""
