"""Tests of scheduler.views."""
