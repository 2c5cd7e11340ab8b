"""Tests of scheduler.act."""
