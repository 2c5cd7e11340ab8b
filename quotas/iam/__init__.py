"""Closing a startup through IAM: policies, the rules to revoke, and ways around them."""
