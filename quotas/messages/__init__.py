"""Messages to people: who receives which one, and how it reads."""
