"""Claims about the book: transactions, fences, triggers, verification."""
