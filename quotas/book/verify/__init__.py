"""Proofs of the book: every invariant that its rows alone can show."""
