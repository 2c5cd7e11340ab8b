"""Tests of quotas.ledger."""
