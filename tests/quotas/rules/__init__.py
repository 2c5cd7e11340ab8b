"""Tests of quotas.rules."""
