"""The demo: six months of a simulated cohort, its scenarios and its tie-out."""
