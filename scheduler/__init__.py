"""When and how: the cycle, the lease, the clouds and the command line."""
