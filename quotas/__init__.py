"""What is owed and what is allowed: pure rules, plus the one book that persists them."""
