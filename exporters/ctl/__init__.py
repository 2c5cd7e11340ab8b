"""The command `cohortctl`: a startup's own view, over the HTTP API alone."""
