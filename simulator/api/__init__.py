"""The HTTP face of a simulated region: what the official SDK talks to."""
