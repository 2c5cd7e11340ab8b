"""Commands that steer what is stopped: overrides, notices, release-all."""
