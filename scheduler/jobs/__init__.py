"""What the daemon does beside its decisions: inbox, deliveries, maintenance, the log."""
