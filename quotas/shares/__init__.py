"""Each startup's share of scarce GPUs: the program's problem, and the engine that divides it."""
