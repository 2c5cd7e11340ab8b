"""Tests of what the daemon shows to Prometheus and to the service manager."""
