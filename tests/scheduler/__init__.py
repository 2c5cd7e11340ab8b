"""Tests of the daemon: its cycle, its lease, its actions, its loop and its process."""
