"""Tests of quotas.state."""
