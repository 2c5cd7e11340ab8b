"""The workloads of the region's startups."""
