"""What may be asked of the books? Orders as frozen values, and the deed that carries one."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class GrantCommand:
    """Credit to a startup; instants that are None are now and the cohort's end."""

    startup: str
    id: str
    amount_ucr: int
    category: str = "sponsor"
    priority: int = 0
    effective_s: int | None = None
    expires_s: int | None = None


@dataclass(frozen=True, slots=True)
class VoidCommand:
    """What is left of a grant, back to its sponsor."""

    startup: str
    grant: str


@dataclass(frozen=True, slots=True)
class RefundCommand:
    """Every charged second within [from_s, to_s) of a server, a startup, or a whole zone."""

    from_s: int
    to_s: int
    server: str | None = None
    startup: str | None = None
    zone: str | None = None


@dataclass(frozen=True, slots=True)
class TransferCommand:
    """Credit of one startup to another of its cohort."""

    sender: str
    to: str
    amount_ucr: int


@dataclass(frozen=True, slots=True)
class PriceCommand:
    """A flavor's rate from an instant on; `bearer` bears what it adds to time that is past."""

    flavor: str
    rate_ucr_per_h: int
    from_s: int
    bearer: str = "sponsor"
    confirm: str | None = None


@dataclass(frozen=True, slots=True)
class MilestoneCommand:
    """A milestone that was reached: its tranche is credited now."""

    startup: str
    grant: str
    milestone: str


@dataclass(frozen=True, slots=True)
class AdvanceCommand:
    """The next tranche of a grant, or a part of it, to be spent now."""

    startup: str
    grant: str
    amount_ucr: int | None = None


@dataclass(frozen=True, slots=True)
class SelfAdvanceCommand:
    """A part of the next tranche of a grant, asked for by its startup, to be spent now.

    Without a grant it is the tranche that begins first; without an amount, all that is allowed.
    """

    startup: str
    grant: str | None = None
    amount_ucr: int | None = None


@dataclass(frozen=True, slots=True)
class HoldCommand:
    """Credit to be set aside for so long."""

    startup: str
    amount_ucr: int
    length_s: int


@dataclass(frozen=True, slots=True)
class SettleCommand:
    """A hold to be spent, in part or whole; for usage that ended at `used_until_s`, or now."""

    hold: str
    amount_ucr: int | None = None
    used_until_s: int | None = None


@dataclass(frozen=True, slots=True)
class VoidHoldCommand:
    """A hold to be returned whole."""

    hold: str


Command = (
    GrantCommand
    | VoidCommand
    | RefundCommand
    | TransferCommand
    | PriceCommand
    | MilestoneCommand
    | AdvanceCommand
    | SelfAdvanceCommand
    | HoldCommand
    | SettleCommand
    | VoidHoldCommand
)


@dataclass(frozen=True, slots=True)
class OperatorAction:
    """An order, by whom, when and why; `key` is None where nobody will repeat it."""

    command: Command
    reason: str
    actor: str
    now_s: int
    key: str | None = None

    @property
    def body(self) -> str:
        """What has to be equal for a key to be used again."""
        named = {"command": type(self.command).__name__, **asdict(self.command)}
        return json.dumps({**named, "reason": self.reason}, sort_keys=True)
