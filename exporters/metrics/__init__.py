"""Prometheus metrics and the health endpoints: /metrics, /healthz and /readyz."""

from exporters.metrics.daemon import Metrics
from exporters.metrics.server import MetricsServer
from exporters.metrics.views import BALANCES

__all__ = ["BALANCES", "Metrics", "MetricsServer"]
