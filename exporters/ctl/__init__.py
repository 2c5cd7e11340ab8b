"""The command `cohortctl`: a startup's own view, anywhere, over the HTTP API alone."""
