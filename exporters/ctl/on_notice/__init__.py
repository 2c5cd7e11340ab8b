"""The command cohortctl on-notice: run a hook before this server is stopped."""
