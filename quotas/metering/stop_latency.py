"""Stop latency by flavor: measured from our own intents, or the default of the policy.

A stop lasts from the request to the sweep that saw the server off. From three stops of a flavor
on, the longest of its last twenty and a quarter more replaces the policy's default: the next stop
exceeds the longest of n with a chance of 1 in n + 1, and the quarter covers most of those. A stop
whose end is known less exactly than the default is left out: its zone did not answer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from quotas.metering.runs import Run
from quotas.model.program import Policy

MINIMUM_SAMPLES = 3
SAMPLE_SIZE = 20


@dataclass(frozen=True, slots=True)
class MeasuredStop:
    """A confirmed stop: how long it took, and how far its true end may lie from that."""

    flavor: str
    seconds: int
    error_s: int


def measured_s(newest_first: Iterable[MeasuredStop], default_s: int) -> dict[str, int]:
    """Stop latency of each flavor that was measured often enough."""
    kept: dict[str, list[int]] = defaultdict(list)
    for stop in newest_first:
        if stop.seconds >= 0 and stop.error_s <= default_s and len(kept[stop.flavor]) < SAMPLE_SIZE:
            kept[stop.flavor].append(stop.seconds)
    return {
        flavor: -(-max(seconds) * 5 // 4)
        for flavor, seconds in sorted(kept.items())
        if len(seconds) >= MINIMUM_SAMPLES
    }


def longest_s(flavors: Iterable[str], measured: Mapping[str, int], default_s: int) -> int:
    """The latency to reserve for: the longest among the flavors that run, else the default."""
    return max((measured.get(flavor, default_s) for flavor in flavors), default=default_s)


def reserves_s(
    policy: Policy,
    names: Iterable[str],
    runs: Iterable[Run],
    stops: Iterable[MeasuredStop],
    cycle_s: int,
) -> tuple[Mapping[str, int], dict[str, int]]:
    """What was measured by flavor, and by startup how long its reserve has to last.

    Minimum notice + one cycle + an orderly stop of the slowest flavor that it runs.
    """
    measured = measured_s(stops, policy.stop_latency_s)
    running: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        if run.end_s is None:
            running[run.startup].add(run.flavor)
    before_s, default_s = policy.minimum_notice_s + cycle_s, policy.stop_latency_s
    return measured, {
        name: before_s + longest_s(running.get(name, ()), measured, default_s) for name in names
    }
