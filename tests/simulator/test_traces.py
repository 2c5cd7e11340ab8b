"""Demand traces from both kinds of file are replayed as whole servers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from simulator import traces
from simulator.world.offers.catalogue import OFFERS
from simulator.world.region import World
from simulator.world.workloads.trace import Point, Trace, whole_servers

from .recorded import SHARED

START_S = 1_799_107_200
HOUR_S = 3600
ZONE = "fr-par-2"
PHILLY = SHARED / "traces" / "philly_vc_demand_hourly.parquet"


def running_gpus(world: World) -> int:
    """GPUs of the servers that run now."""
    offers = OFFERS[ZONE]
    servers = world.servers(ZONE)
    return sum(offers[s.commercial_type].gpus for s in servers if s.state == "running")


@pytest.mark.parametrize("gpus", range(41))
def test_demand_becomes_whole_servers(gpus: int) -> None:
    """Servers with names of their own add up to any number of GPUs."""
    wanted = whole_servers(gpus)
    assert sum(OFFERS[ZONE][kind].gpus for _, kind in wanted) == gpus
    assert len({name for name, _ in wanted}) == len(wanted)


def test_a_csv_is_followed(tmp_path: Path) -> None:
    """Each point turns servers on or off; instants are seconds or RFC 3339."""
    file = tmp_path / "demand.csv"
    file.write_text(
        f"startup,instant,GPUs\na,{START_S},3\na,2027-01-05T05:00:00Z,1\nb,{START_S},8\n"
    )
    world = World.build(1, START_S, 3, traces.read(file, START_S, 3).workloads())
    assert [project.name for project in world.projects] == ["a", "b"]
    world.advance(START_S + HOUR_S)
    assert running_gpus(world) == 11
    world.advance(START_S + 6 * HOUR_S)
    assert running_gpus(world) == 9


@pytest.mark.parametrize(
    "line",
    ["a,b", "a,yesterday,3", "a,5,many", "a,5,3,4"],
    ids=["a field is missing", "no instant", "no number of GPUs", "a field too many"],
)
def test_a_bad_csv_names_its_line(tmp_path: Path, line: str) -> None:
    """An invalid line is refused; the error names the file and the line."""
    file = tmp_path / "demand.csv"
    file.write_text(f"a,5,3\n{line}\n")
    with pytest.raises(traces.TraceError, match=r"demand\.csv, line 2"):
        traces.read(file, START_S, 1)


def test_demand_is_scaled_to_the_pool() -> None:
    """The peak of the total becomes the pool's size; a smaller demand is not scaled."""
    trace = Trace((Point("a", 0, 100), Point("b", 0, 60), Point("b", 10, 0), Point("c", 5, 1)))
    assert trace.peak() == 161
    scaled = trace.scaled(40)
    assert [point.gpus for point in scaled.points] == [25, 15, 0, 1]
    assert trace.scaled(200) == trace


def test_the_largest_are_chosen() -> None:
    """The startups with the highest sums stay."""
    trace = Trace(
        tuple(
            Point(name, at_s, gpus)
            for at_s in (1, 2)
            for name, gpus in zip("abc", (1, 9, 5), strict=True)
        )
    )
    assert {point.startup for point in trace.top(2).points} == {"b", "c"}


def test_a_real_trace_drives_the_world() -> None:
    """Philly's five largest virtual clusters run for a month within the pool, repeatably."""
    if not PHILLY.exists():
        pytest.skip(f"service: no trace at {PHILLY}")
    pytest.importorskip("pyarrow", reason="service: pyarrow is not installed")
    trace = traces.read(PHILLY, START_S, 183).top(5).scaled(40)
    assert max(point.at_s for point in trace.points) == START_S + (183 * 24 - 1) * HOUR_S
    world = World.build(1, START_S, 30, trace.workloads())
    seen = []
    for _ in range(30 * 8):
        world.advance(world.now_s + 3 * HOUR_S)
        seen.append(running_gpus(world))
    assert len(world.projects) == 5
    assert 5 < max(seen) <= 48
    assert len(set(seen)) > 5


def test_parquet_without_pyarrow_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the optional dependency."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(traces.TraceError, match=r"cohortd\[traces\]"):
        traces.read(Path("x.parquet"), START_S, 1)
