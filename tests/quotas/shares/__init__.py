"""Tests of the division of pools."""
