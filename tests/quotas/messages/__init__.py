"""Tests of quotas.messages."""
