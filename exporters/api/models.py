"""Response models of the API, with examples: the source of the OpenAPI document.

Amounts are decimal strings of credits, instants RFC 3339 in UTC, durations seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from typing import Annotated, Generic, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from quotas.model.units import format_credits, format_instant


def _from_integer(to_text: Callable[[int], str]) -> BeforeValidator:
    return BeforeValidator(lambda value: to_text(value) if isinstance(value, int) else value)


Credits = Annotated[
    str, Field(pattern=r"^-?\d+\.\d{2,6}$", examples=["41.20"]), _from_integer(format_credits)
]
Instant = Annotated[str, Field(examples=["2027-01-05T00:00:00Z"]), _from_integer(format_instant)]
NonEmpty = Annotated[str | None, BeforeValidator(lambda text: text or None)]
"""A text that the book stores as "" where there is none."""
Item = TypeVar("Item")


class Answer(BaseModel):
    """The base of every answer: frozen, without extra fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def of(cls, *sources: object, **values: object) -> Self:
        """The answer with these values, and the other fields from objects or rows of the book.

        A field `left` is read from the first source that has `left`, or `left_ucr` (credits) or
        `left_s` (an instant).
        """
        for name in cls.model_fields.keys() - values.keys():
            for source, key in product(sources, (name, f"{name}_ucr", f"{name}_s")):
                if key in source if isinstance(source, Mapping) else hasattr(source, key):
                    found = source[key] if isinstance(source, Mapping) else getattr(source, key)
                    values[name] = found
                    break
        return cls.model_validate(values)


class Me(Answer):
    """The owner of this token, and what the token may do."""

    token: str = Field(examples=["tok-5f1c0a9b3d2e"])
    name: str = Field(examples=["ci"])
    scopes: list[str] = Field(examples=[["read", "request"]])
    expires: Instant
    program: str = Field(examples=["ai-startup-program"])
    mode: str = Field(examples=["enforce"], description="off, shadow or enforce")
    startup: str | None = Field(examples=["acme-speech"])
    cohort: str | None = Field(examples=["spring-2027"])
    starts: Instant | None
    ends: Instant | None


class ExpiringNext(Answer):
    """Credits that expire next if nothing more burns, without those that roll over or are held."""

    grant: str = Field(examples=["acme-1"])
    credits: Credits
    expires: Instant


class Pace(Answer):
    """Credits paced to date, credits spent, and a sentence about both."""

    allowance: Credits
    spent: Credits
    is_ahead: bool
    text: str


class CreditsAnswer(Answer):
    """Everything about a startup's credits, all of it at `as_of`.

    available = posted - accrued - held - reserve.
    """

    as_of: Instant
    known_until: Instant | None = Field(description="until when every zone was observed")
    granted: Credits
    posted: Credits
    accrued: Credits
    held: Credits
    reserve: Credits
    available: Credits
    unconfirmed: Credits
    charged: Credits
    expiring_next: ExpiringNext | None
    burn_per_hour: Credits
    runway_s: int | None = Field(examples=[86400], description="null where nothing burns")
    exhausted_at: Instant | None
    pace: Pace | None = Field(description="null while the cohort does not run")
    level: str = Field(examples=["open"], description="open, paced, closed or stopped")
    level_reason: str = Field(examples=["credits and time are left"])


class PoolUsage(Answer):
    """GPUs of billable servers in one pool; null for flavors that no pool lists."""

    pool: str | None = Field(examples=["h100"])
    gpus: int = Field(examples=[8])
    burn_per_hour: Credits


class UsageAnswer(Answer):
    """GPUs that run now, and the cost to date."""

    as_of: Instant
    known_until: Instant | None
    gpus: int = Field(examples=[8])
    pools: list[PoolUsage]
    charged: Credits
    accrued: Credits
    unconfirmed: Credits


class ServerStop(Answer):
    """The notice of a server."""

    notice: int = Field(examples=[17])
    rule: str = Field(examples=["credits"])
    deadline: Instant
    seconds_left: int = Field(examples=[1800], description="from `as_of`; 0 once it is past")


class Server(Answer):
    """One billable server."""

    id: str
    name: str = Field(examples=["trainer"])
    zone: str = Field(examples=["fr-par-2"])
    flavor: str = Field(examples=["H100-SXM-8-80G@fr-par-2"])
    pool: str | None = Field(examples=["h100"])
    gpus: int = Field(examples=[8])
    state: str = Field(examples=["running"])
    since: Instant
    credits_per_hour: Credits | None = Field(description="null while no price is accepted")
    stop: ServerStop | None


class ServersAnswer(Answer):
    """Every billable server now."""

    as_of: Instant
    items: list[Server]


class PoolQuota(Answer):
    """A startup's part of one pool, in GPUs."""

    pool: str = Field(examples=["h100"])
    nominal: int
    share: int
    ceiling: int = Field(description="what may run now")
    usage: int
    headroom: int = Field(description="ceiling - usage; new capacity is refused at 0")
    borrowed: int
    lent: int
    limited_by: str = Field(examples=["demand"])
    reason: str


class QuotaAnswer(Answer):
    """The division of the pools, as it concerns one startup."""

    as_of: Instant
    items: list[PoolQuota]


class Decision(Answer):
    """A decision with its reason."""

    id: int
    at: Instant
    mode: str = Field(examples=["enforce"])
    verb: str = Field(examples=["notify"])
    server: NonEmpty
    rule: str = Field(examples=["limit"])
    reason: str


class DecisionExplanation(Answer):
    """A decision with its inputs, whether they lead to it again, and what would change it."""

    decision: int
    rule: str = Field(examples=["limit"])
    verb: str = Field(examples=["announce"])
    at: Instant
    reason: str
    inputs: dict[str, int | str] = Field(examples=[{"used_gpus": 9, "limit_gpus": 8}])
    is_recomputed: bool = Field(description="whether the inputs lead to the decision again")
    check: str = Field(description="the same in words")
    counterfactual: str = Field(examples=["with at most 8 GPUs in h100 nothing would be stopped"])
    next_step: str = Field(
        examples=["its stop follows at 2027-01-05T00:30:00Z, unless the cause ends"]
    )
    changed_by: str = Field(description="who may change it, and how")
    intents: list[str] = Field(
        examples=[["poweroff of 2027-01-05T00:30:00Z failed: still running 360 s after poweroff"]],
        description="what became of each action that followed, newest first",
    )


class Notice(Answer):
    """A notice before a stop."""

    id: int
    server: NonEmpty
    server_name: NonEmpty
    rule: str = Field(examples=["credits"])
    mode: str = Field(examples=["enforce"], description="in shadow nothing will be stopped")
    state: str = Field(examples=["open"])
    opened: Instant
    deadline: Instant
    acknowledged: Instant | None = Field(description="when somebody first said so")
    text: str


class Event(Answer):
    """A decision or a notice, in the order in which they were recorded."""

    kind: str = Field(examples=["notice"], description="decision or notice")
    at: Instant
    decision: Decision | None = None
    notice: Notice | None = None


class Charge(Answer):
    """Priced usage of one server over [start, end)."""

    id: int
    server: str
    flavor: str
    gpus: int
    start: Instant
    end: Instant
    credits: Credits


class PageOf(Answer, Generic[Item]):
    """A part of a list. `next` is the `cursor` of the next page, null at the end."""

    items: list[Item]
    next: str | None


class EventsAnswer(Answer):
    """New events. `next` is the `cursor` of the next call; it is never null."""

    items: list[Event]
    next: str = Field(examples=["12-3"])


class StartupSummary(Answer):
    """One startup, as an operator sees it."""

    name: str
    cohort: str | None
    level: str
    available: Credits
    burn_per_hour: Credits
    runway_s: int | None
    exhausted_at: Instant | None
    gpus: int


class StartupRequest(Answer):
    """A request for GPUs and its state."""

    id: int
    pool: str = Field(examples=["h100"])
    gpus: int
    duration_s: int
    reason: str
    state: str = Field(examples=["open"], description="open, fulfilled, withdrawn or closed")
    opened: Instant
    fulfilled: Instant | None
    closed: Instant | None
    detail: str
    refused_for: str | None = Field(
        description="why Scaleway refused its servers, as the startup says: quota, or null"
    )


class Accepted(Answer):
    """A write that was accepted; the next cycle decides it."""

    id: str
    kind: str = Field(examples=["request.open"])
    submitted: Instant
    link: str = Field(description="where its answer will be")


class WriteAnswer(Answer):
    """The result of a write."""

    id: str
    kind: str
    submitted: Instant
    state: str = Field(examples=["done"], description="waiting, done or refused")
    text: str
    decided: Instant | None
    reference: int | None = Field(description="the request or the notice that it is about")


class StatementSummary(Answer):
    """A UTC month without its lines. `hash` is null while the month may still change."""

    month: str = Field(examples=["2027-01"])
    opening: Credits
    closing: Credits
    charged: Credits
    closed: Instant | None
    hash: str | None = Field(description="as `cohortd statement --list` shows it")


class StatementEntry(Answer):
    """One line of a month: the cost of a run, or a change by a person or the calendar."""

    kind: str = Field(examples=["charge"])
    at: Instant
    until: Instant | None = None
    server: str | None = None
    flavor: str | None = None
    gpus: int | None = None
    seconds: int | None = None
    rate_per_hour: Credits | None = None
    cost: Credits | None = None
    overdraft: Credits
    amount: Credits
    late: bool = Field(description="it belongs to a month that was closed before")
    by: str | None = None
    reason: str | None = None


class StatementAnswer(StatementSummary):
    """A UTC month: opening, every line, closing. The amounts add up to the closing."""

    lines: list[StatementEntry]


class StatementsAnswer(Answer):
    """Every month, newest first."""

    items: list[StatementSummary]


class OperatorAction(Answer):
    """An action of an operator."""

    at: Instant
    actor: str = Field(examples=["ana"])
    command: str = Field(examples=["freeze"])
    subject: str
    reason: str
    before: str
    after: str


class OperatorActionsAnswer(Answer):
    """Actions of operators, newest first."""

    items: list[OperatorAction]
