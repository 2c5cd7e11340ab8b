"""Benchmarks: tables with ratios against a baseline of the same run."""
