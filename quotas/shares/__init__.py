"""Shares of scarce GPUs: the program's problem, and the engine that divides it."""
