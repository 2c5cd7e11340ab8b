"""Actions on the cloud: intents on servers, access of startups, and releasing everybody."""
