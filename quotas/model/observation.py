"""Observations of a zone (Complete, Partial or Unknown), its servers and its offers.

Only Complete can say "no servers". A zone that did not answer is Unknown, never an empty list.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

FREE_STATES = frozenset({"stopping", "stopped"})
"""States that Scaleway does not bill. Every other state is billable, even one we do not know."""


class Cause(StrEnum):
    """Why a zone could not be read."""

    UNREACHABLE = "unreachable"
    THROTTLED = "throttled"
    FAULT = "fault"
    MALFORMED = "malformed"
    KEY_REFUSED = "key_refused"
    FORBIDDEN = "forbidden"
    DEADLINE = "deadline"
    INCONSISTENT = "inconsistent"


@dataclass(frozen=True, slots=True)
class Server:
    """One server as the API showed it. `modified_s` and `created_s` are UTC seconds."""

    id: str
    zone: str
    project_id: str
    name: str
    commercial_type: str
    state: str
    state_detail: str
    created_s: int
    modified_s: int
    allowed_actions: tuple[str, ...] = ()

    @property
    def is_billable(self) -> bool:
        """Whether the provider bills this state (standby and unknown states are billed)."""
        return self.state not in FREE_STATES

    @property
    def flavor(self) -> str:
        """An offer in a zone, as the program file names it: TYPE@zone."""
        return f"{self.commercial_type}@{self.zone}"


@dataclass(frozen=True, slots=True)
class Complete:
    """Every server of the zone, read once each; `at_s` is the instant the sweep began."""

    zone: str
    at_s: int
    servers: tuple[Server, ...]


@dataclass(frozen=True, slots=True)
class Partial:
    """Some servers of the zone. Nothing is concluded from it, because others may be missing."""

    zone: str
    at_s: int
    servers: tuple[Server, ...]
    cause: Cause
    detail: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """The zone did not answer, or its answer cannot be trusted."""

    zone: str
    at_s: int
    cause: Cause
    detail: str


Sweep = Complete | Partial | Unknown


@dataclass(frozen=True, slots=True)
class Offer:
    """What a zone sells: a commercial type with its GPUs and catalogue price.

    `rate_ucr_per_h` is None if the price is missing, zero or not a number.
    """

    zone: str
    commercial_type: str
    gpus: int
    rate_ucr_per_h: int | None
    scratch_bytes: int

    @property
    def flavor(self) -> str:
        """The offer's name in the program file: TYPE@zone."""
        return f"{self.commercial_type}@{self.zone}"
