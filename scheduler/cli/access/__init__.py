"""Commands about access to the API: tokens."""
