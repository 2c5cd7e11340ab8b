"""Runs a simulated region: `python -m simulator --listen 127.0.0.1:0 --seed 1 --speed 60`.

It prints one line of JSON, with its URL, organization and keys, when it listens.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import uvicorn

from simulator import traces
from simulator.api.app import build
from simulator.clock import Clock, real_now_s
from simulator.world.faults import draw_faults
from simulator.world.offers.catalogue import ZONES
from simulator.world.region import World
from simulator.world.workloads.behaviours import default_workloads

DEFAULT_START_S = 1_799_107_200
"""2027-01-05T00:00:00Z."""
POOL_GPUS = 40
TRACE_STARTUPS = 5


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="simulator", description="A simulated Scaleway region.")
    parser.add_argument("--listen", default="127.0.0.1:0", help="HOST:PORT, port 0: a free one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", help="the first instant: RFC 3339 or UTC seconds")
    parser.add_argument("--days", type=int, default=183)
    clock = parser.add_mutually_exclusive_group()
    clock.add_argument("--speed", type=float, help="world seconds in a real second")
    clock.add_argument("--clock", choices=["real", "controller"])
    parser.add_argument("--trace", type=Path, help="demand to replay: .parquet or .csv")
    parser.add_argument("--no-workload", action="store_true", help="projects, but no servers")
    parser.add_argument("--faults", action="store_true", help="play the seed's fault plan")
    return parser.parse_args(arguments)


def build_world(options: argparse.Namespace) -> World:
    """The world that the options describe."""
    begins_s = real_now_s() if options.clock == "real" else DEFAULT_START_S
    if options.start is not None:
        begins_s = traces.instant_s(options.start)
    workloads = default_workloads(options.seed)
    if options.trace is not None:
        trace = traces.read(options.trace, begins_s, options.days)
        workloads = trace.top(TRACE_STARTUPS).scaled(POOL_GPUS).workloads()
    if options.no_workload:
        world = World.build(options.seed, begins_s, options.days, workloads=())
        for workload in workloads:
            world.add_startup(workload.name)
    else:
        world = World.build(options.seed, begins_s, options.days, workloads)
    if options.faults:
        world.faults.add(*draw_faults(options.seed, begins_s, options.days, ZONES))
    return world


def announcement(world: World, url: str) -> dict[str, object]:
    """The announcement for the parent process."""
    return {
        "url": url,
        "organization_id": world.organization_id,
        "access_key": world.operator_access_key,
        "secret_key": world.operator_key,
        "start": _rfc3339(world.start_s),
        "ends": _rfc3339(world.ends_s),
        "projects": [asdict(project) for project in world.projects],
        "zones": list(ZONES),
    }


def _rfc3339(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _leave(number: int, frame: FrameType | None) -> None:
    """Handle a signal before the server takes signals over, and after it returns them."""
    raise SystemExit(0)


def main(arguments: Sequence[str]) -> int:
    """Serve until SIGTERM or SIGINT."""
    signal.signal(signal.SIGTERM, _leave)
    options = parse(arguments)
    try:
        world = build_world(options)
    except (traces.TraceError, OSError) as error:
        print(f"simulator: {error}", file=sys.stderr)
        return 2
    speed = None if options.clock == "controller" else (options.speed or 1.0)
    host, _, port = options.listen.rpartition(":")
    listener = socket.create_server((host, int(port)), backlog=512)
    # asyncio does not set it on a socket that it did not create; each answer would wait 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    bound_host, bound_port = listener.getsockname()[:2]
    app = build(world, Clock.starting(world.start_s, speed))
    config = uvicorn.Config(
        app,
        log_level="error",
        access_log=False,
        date_header=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    print(json.dumps(announcement(world, f"http://{bound_host}:{bound_port}")), flush=True)
    uvicorn.Server(config).run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
