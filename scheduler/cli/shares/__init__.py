"""Commands about shares of GPUs: the division, and requests."""
