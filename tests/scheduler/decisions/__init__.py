"""Tests of notices, overrides and levels through whole cycles."""
