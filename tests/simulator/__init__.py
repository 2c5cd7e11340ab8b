"""Tests of the simulated region: against recordings, over HTTP, and of its own rules."""
