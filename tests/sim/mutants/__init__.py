"""Planted bugs, and the hunt that finds them."""
