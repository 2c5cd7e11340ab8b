"""The HTTP API of a simulated region, for the official SDK."""
