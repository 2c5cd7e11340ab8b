"""Auditors: each judges a finished play against the region's own truth."""
