"""Tests of cohortctl."""
