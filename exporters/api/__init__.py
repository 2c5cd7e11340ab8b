"""The HTTP API for startups and operators: `cohortd serve`, without a key to the cloud."""
