"""Checks of the style budget."""
