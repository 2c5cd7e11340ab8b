"""The routes of the API: startups and operators."""
