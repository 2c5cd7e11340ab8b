"""The region's IAM: principals, policies and permission sets."""
