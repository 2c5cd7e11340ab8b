"""Events, people, places and kinds of faults that all scripts share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from quotas.model.units import DAY_S

START_S = 1_799_107_200
"""2027-01-05T00:00:00Z: months end, and Paris changes its clocks once, within half a year."""
HEALED_S = 2 * DAY_S
"""The end of every play that no fault touches, but for an outage across the end in some."""
NAMES = ("acme", "birch", "cedar", "delta", "elder")
BIG = ("H100-SXM-2-80G", "H100-SXM-4-80G", "H100-SXM-8-80G")
SMALL = ("H100-1-80G", "H100-2-80G")
ZONES = ("fr-par-1", "fr-par-2", "pl-waw-2")
READS = ("outage", "partial", "stale", "shuffled", "unknown-state", "key-refused")
CALLS = ("throttle", "refuse", "lost-before", "lost-after", "late", "call-key-refused")
NOBODY = "nobody"
"""The actor of an event in which everybody is quiet."""
LISTINGS = ("no-offers", "no-stock", "null-price", "zero-price", "absurd-price")
"""How the catalogue fails: it does not answer, or lists impossible prices."""
HAND, IAM_PLACE = "hand", "iam"
"""The people who edit policies by hand; also the place of IAM's faults."""
IAM = ("iam-down", "iam-throttle", "iam-lost", "iam-conflict", "iam-forbidden")
"""How IAM fails: unreachable, done without an answer, or refused."""
WHEN = ("before", "after")
POINTS = (
    "before acquire",
    "after acquire",
    "after catalogues",
    "after load",
    "after observe",
    "before commit",
    "after commit",
    "before call",
    "after call",
    "before mark",
    "after mark",
)
IAM_POINTS = tuple(f"{when} {what}" for what in ("revoke", "rules", "restore") for when in WHEN)
"""The points around the record, the call and the end of the record: few cycles reach them."""
OFTEN = 8
"""How much likelier a fault is at those points."""
DICE = ("crash", "error", "stall", "slow")
"""Faults of a cycle at a point: the daemon dies, gets an error, is overtaken, or is slow."""


@dataclass(frozen=True, slots=True)
class Event:
    """An action of somebody at an instant; `args` are what the verb needs."""

    at_s: int
    who: str
    verb: str
    args: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Window:
    """A fault of reads or calls in a zone, in [from_s, until_s)."""

    kind: str
    zone: str
    from_s: int
    until_s: int
