"""State: what cohortd knows when it decides, and the state machines that a cycle moves."""
