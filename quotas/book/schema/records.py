"""Classes of the rows that are read and written one at a time, through a session of the ORM."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import Annotated, Any

from sqlalchemy import BigInteger, Dialect, String, TypeDecorator
from sqlalchemy.orm import declared_attr
from sqlmodel import Field, SQLModel

from quotas.state.facts import canonical_json

METADATA = SQLModel.metadata
Int64 = Annotated[int, Field(sa_type=BigInteger)]
"""An instant, a duration or an amount. A `Field(...)` given beside this one would replace it."""
Int64OrNone = Annotated[int | None, Field(sa_type=BigInteger)]
Number = Annotated[int | None, Field(primary_key=True)]
"""A row's own number. The database gives it: one above the highest."""
Key = Annotated[str, Field(primary_key=True)]
Indexed = Annotated[str, Field(index=True)]
Unique = Annotated[str, Field(unique=True)]
UniqueOrNone = Annotated[str | None, Field(unique=True)]


class CanonicalJson(TypeDecorator[Any]):
    """A mapping, or a frozen dataclass of the given kind, as canonical JSON; None stays NULL."""

    impl = String
    cache_ok = True

    def __init__(self, kind: type = dict) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """The text of the value."""
        if value is None:
            return None
        return canonical_json(value if isinstance(value, dict) else asdict(value))

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """The value of the text."""
        return None if value is None else self.kind(**json.loads(value))


Facts = Annotated[dict[str, Any], Field(sa_type=CanonicalJson)]


class Row(SQLModel):
    """A row of the table that its class is named after: InboxAnswerRow is one of inbox_answer."""

    @declared_attr.directive
    def __tablename__(cls) -> str:
        return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__.removesuffix("Row")).lower()


class ProgramVersionRow(Row, table=True):
    """A program file as it was applied; the newest is in force."""

    id: Number = None
    digest: str
    body: str
    applied_s: Int64
    actor: str


class HoldRow(Row, table=True):
    """The state of a hold. Its transfers are the truth, and its account has its credits."""

    id: Key
    startup: Indexed
    cohort: str
    amount_ucr: Int64
    placed_s: Int64
    expires_s: Int64
    state: Indexed
    settled_ucr: Int64
    ended_s: Int64OrNone = None
    reason: str


class PriceRow(Row, table=True):
    """A version of a flavor's rate (see quotas.metering.prices.Version): append-only.

    `operator_action`, `body` and `answer` belong to the command that accepted the price.
    """

    id: Number = None
    flavor: str
    from_s: Int64
    rate_ucr_per_h: Int64
    recorded_s: Int64
    bearer: str
    source: str
    reason: str = ""
    operator_action: UniqueOrNone = None
    body: str = ""
    answer: str = ""


class LeaseRow(Row, table=True):
    """Leadership: who may write the cycle's results, until when, under which epoch."""

    name: Key
    holder: str
    epoch: int
    expires_s: Int64


class DecisionRow(Row, table=True):
    """A decision with the inputs it was made from: append-only."""

    id: Number = None
    at_s: Int64
    mode: str
    verb: str
    startup: Indexed
    server_id: Indexed
    rule: str
    episode: str
    inputs: Facts


class NoticeRow(Row, table=True):
    """A promise made before a stop, with its deadline (see quotas.state.notices.Notice)."""

    id: Number = None
    startup: Indexed
    server_id: str
    server_name: str
    zone: str
    rule: str
    episode: str
    mode: str
    opened_s: Int64
    deadline_s: Int64
    state: Indexed
    facts: Facts
    off_s: Int64OrNone = None
    reminded_s: Int64OrNone = None
    snoozed_s: Int64
    acknowledged_s: Int64OrNone = None
    acknowledged_by: str
    is_breached: bool


class RequestRow(Row, table=True):
    """GPUs that a startup asks for, and what became of it (see quotas.state.requests.Request)."""

    id: Number = None
    key: UniqueOrNone = None
    startup: Indexed
    pool: str
    gpus: int
    duration_s: Int64
    reason: str
    actor: str
    opened_s: Int64
    state: Indexed
    met_s: Int64OrNone = None
    ended_s: Int64OrNone = None
    detail: str
    quota_gpus: int | None = None


class OverrideRow(Row, table=True):
    """An operator's standing order: append-only (see quotas.state.overrides.Override)."""

    id: Number = None
    family: str
    subject: Indexed
    value: str
    at_s: Int64
    until_s: Int64OrNone = None
    actor: str
    reason: str
    before: str


class TokenRow(Row, table=True):
    """A token's terms under its hash (see quotas.model.tokens.Token); the token is not kept."""

    id: Key
    hash: Unique
    name: str
    startup: Indexed
    scopes: str
    created_s: Int64
    expires_s: Int64
    revoked_s: Int64OrNone = None
    actor: str


class InboxAnswerRow(Row, table=True):
    """The answer to a write that came through the inbox: append-only."""

    id: Key
    startup: str
    kind: str
    at_s: Int64
    state: str
    text: str
    reference: int | None = None
