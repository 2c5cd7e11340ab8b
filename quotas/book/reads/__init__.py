"""Reads of the book for people: history, statements, audits, and what changed."""
