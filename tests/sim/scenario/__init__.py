"""Scripts of plays: what happens when, drawn from a seed."""
