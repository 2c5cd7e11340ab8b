"""Tests of quotas.queue."""
