"""What the cycle reads and writes: state, commit, lease, outbox."""
