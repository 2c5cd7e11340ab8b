"""Tests of quotas.book.actions."""
