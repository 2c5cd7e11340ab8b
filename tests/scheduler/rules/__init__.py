"""Tests of each rule through whole cycles."""
