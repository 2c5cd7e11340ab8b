"""What does Grafana show an operator? Four dashboards as code, written to deploy/grafana."""

from exporters.dashboards.daemon import daemon
from exporters.dashboards.decisions import decisions
from exporters.dashboards.overview import overview
from exporters.dashboards.startup import startup

DASHBOARDS = {
    "program-overview": overview,
    "startup": startup,
    "decisions": decisions,
    "daemon": daemon,
}
"""File name without its ending, and what builds it."""

__all__ = ["DASHBOARDS"]
