"""The soak: many seeds, their tally, and shrinking what broke."""
