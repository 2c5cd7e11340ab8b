"""How it is seen: metrics, and later the API, the portal and the notices."""
