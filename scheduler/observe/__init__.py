"""Reads of the cloud: zones, catalogues, the provider's stock, and the clock."""
