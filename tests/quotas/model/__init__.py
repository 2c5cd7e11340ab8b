"""Tests of quotas.model."""
