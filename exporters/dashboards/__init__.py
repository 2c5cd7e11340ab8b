"""The Grafana dashboards as code: four dashboards, written to deploy/grafana."""

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
"""The file name of each dashboard without its ending, and its builder."""

__all__ = ["DASHBOARDS"]
