"""Commands that set cohortd up and run it."""
