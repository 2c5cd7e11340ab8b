"""What a cycle decides from and with: the snapshot, notices, overrides, levels and reasons."""
