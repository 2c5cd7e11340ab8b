"""The claims cohortd makes, each as a test."""
