"""The model of a region: servers, prices, quotas, workloads, faults, and the ground truth.

Pure: the time is passed in, randomness is seeded, and nothing is read or written outside.
"""

from __future__ import annotations

from simulator.world.faults import Fault, FaultKind, Faults, draw_faults
from simulator.world.model import Project, Refusal, Server, TruthRun
from simulator.world.offers.catalogue import GPU_ZONES, ZONES, Offer
from simulator.world.offers.market import PriceChange
from simulator.world.region import World
from simulator.world.workloads.behaviours import Workload, default_workloads
from simulator.world.workloads.trace import Point, Trace

__all__ = [
    "GPU_ZONES",
    "ZONES",
    "Fault",
    "FaultKind",
    "Faults",
    "Workload",
    "Offer",
    "Point",
    "PriceChange",
    "Project",
    "Refusal",
    "Server",
    "Trace",
    "TruthRun",
    "World",
    "default_workloads",
    "draw_faults",
]
