"""Tests of quotas.decisions."""
