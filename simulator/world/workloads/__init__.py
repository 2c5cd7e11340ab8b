"""What the startups of the region do with their servers."""
