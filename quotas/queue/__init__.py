"""Requests for GPUs: demand, claims of waiting owners, and each request's place in the queue."""
