"""Claims about the pure rules and the book."""
