"""Tests of scheduler.observe."""
