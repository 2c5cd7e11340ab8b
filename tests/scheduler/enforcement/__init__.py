"""Tests of stops and restarts through whole cycles."""
