"""Tests of quotas.metering."""
