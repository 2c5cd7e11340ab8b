"""Metering: runs of servers, the prices of their seconds, and how long a stop takes."""
