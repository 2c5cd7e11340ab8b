"""Tests of quotas.iam."""
