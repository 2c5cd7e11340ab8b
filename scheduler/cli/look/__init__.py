"""Commands that read the book and show it."""
