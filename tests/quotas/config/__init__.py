"""Tests of quotas.config."""
