"""The commands of cohortd, as an operator runs them."""
