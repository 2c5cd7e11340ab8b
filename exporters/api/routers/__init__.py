"""The routes of the API, by who asks: startups and operators."""
