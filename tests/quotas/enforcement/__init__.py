"""Tests of quotas.enforcement."""
