"""Tests of the cycle, its loop and its leadership."""
