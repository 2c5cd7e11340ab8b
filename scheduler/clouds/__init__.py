"""Cloud adapters: the interface (`base`), and Scaleway's implementation of it."""
