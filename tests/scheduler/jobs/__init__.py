"""Tests of scheduler.jobs."""
