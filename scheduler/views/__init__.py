"""Values of the cycle and for people: posted state, result, view and status."""
