"""A simulated region with N running servers, served until its standard input closes.

Run as `python -m bench.fleet N`; it prints one JSON line with the url and the keys.
"""

from __future__ import annotations

import json
import socket
import sys
import threading

import uvicorn

from simulator.api.app import build
from simulator.clock import Clock
from simulator.world.region import World

START_S = 1_799_103_600
ZONE = "fr-par-2"
TYPE = "H100-1-80G"


def fleet(servers: int) -> World:
    """A world with one startup and a number of running servers of one H100."""
    world = World.build(1, START_S, 30, workloads=())
    project = world.add_startup("acme")
    world.market.quota_servers[TYPE] = world.market.stock_gpus[ZONE, "H100-PCIe"] = 10**9
    for number in range(servers):
        server = world.create_server(ZONE, project.id, TYPE, f"server-{number}")
        world.act(ZONE, server.id, "poweron")
    world.advance(START_S + 600)
    return world


def main() -> None:
    """Serve the region."""
    world = fleet(int(sys.argv[1]))
    # Named as TCP, or asyncio leaves Nagle on and every answer waits 40 ms for an ACK.
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        app = build(world, Clock.starting(world.now_s, None))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False))
        host, port = listener.getsockname()
        line = {
            "url": f"http://{host}:{port}",
            "organization_id": world.organization_id,
            "access_key": world.operator_access_key,
            "secret_key": world.operator_key,
            "project_id": world.projects[0].id,
            "now_s": world.now_s,
        }
        print(json.dumps(line), flush=True)
        threading.Thread(target=_until_closed, args=(server,), daemon=True).start()
        server.run(sockets=[listener])


def _until_closed(server: uvicorn.Server) -> None:
    sys.stdin.read()
    server.should_exit = True


if __name__ == "__main__":
    main()
