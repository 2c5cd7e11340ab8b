"""Which rows does the book have? Tables and nothing else; rules live elsewhere.

Instants are UTC seconds, amounts ucr, both int64. JSON columns hold canonical text.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from quotas.book import outbox_table, price_tables


def _int64(*, primary_key: bool = False, nullable: bool = False) -> Column[int]:
    return Column(BigInteger, primary_key=primary_key, nullable=nullable)


class ProgramVersion(SQLModel, table=True):
    """A program file as it was applied; the newest is in force."""

    __tablename__ = "program_version"
    id: int | None = Field(default=None, primary_key=True)
    digest: str
    body: str
    applied_s: int = Field(sa_column=_int64())
    actor: str


class TransferRow(SQLModel, table=True):
    """A transfer: append-only, chained by hash within its cohort."""

    __tablename__ = "transfer"
    __table_args__ = (Index("ix_transfer_recorded", "recorded_s"),)
    id: int | None = Field(default=None, primary_key=True)
    key: str = Field(unique=True)
    kind: str
    cohort: str = Field(index=True)
    startup: str = Field(index=True)
    at_s: int = Field(sa_column=_int64())
    recorded_s: int = Field(sa_column=_int64())
    epoch: int
    actor: str
    reason: str
    detail: str
    previous_hash: str
    hash: str


class EntryRow(SQLModel, table=True):
    """A side of a transfer: append-only."""

    __tablename__ = "entry"
    transfer_id: int = Field(primary_key=True, foreign_key="transfer.id")
    position: int = Field(primary_key=True)
    account: str = Field(index=True)
    amount_ucr: int = Field(sa_column=_int64())


class BalanceRow(SQLModel, table=True):
    """Sum of an account's entries: a projection that can be dropped and rebuilt."""

    __tablename__ = "balance"
    account: str = Field(primary_key=True)
    amount_ucr: int = Field(sa_column=_int64())


class StatementRow(SQLModel, table=True):
    """A startup's closed statement of a UTC month ("2027-01"): append-only."""

    __tablename__ = "statement"
    __table_args__ = (
        Index("ix_statement_month", "month"),
        Index("ix_statement_through", "through_id"),
    )
    startup: str = Field(primary_key=True)
    month: str = Field(primary_key=True)
    closed_s: int = Field(sa_column=_int64())
    through_id: int
    body: str
    hash: str


class ChainHeadRow(SQLModel, table=True):
    """Where a cohort's chain stood at the first cycle of a UTC day: append-only."""

    __tablename__ = "chain_head"
    day: str = Field(primary_key=True)
    cohort: str = Field(primary_key=True)
    transfer_id: int
    transfers: int
    moved_ucr: int = Field(sa_column=_int64())
    hash: str


class GrantRow(SQLModel, table=True):
    """Terms of a grant; what is left of it is its account's balance."""

    __tablename__ = "credit_grant"
    __table_args__ = (UniqueConstraint("startup", "grant_id"),)
    id: int | None = Field(default=None, primary_key=True)
    grant_id: str
    startup: str
    cohort: str
    category: str
    priority: int
    amount_ucr: int = Field(sa_column=_int64())
    effective_s: int = Field(sa_column=_int64())
    expires_s: int = Field(sa_column=_int64())
    rolls_to: str | None = None
    roll_ppm: int | None = None
    roll_most_ucr: int | None = Field(default=None, sa_column=_int64(nullable=True))


class HoldRow(SQLModel, table=True):
    """How a hold stands; its transfers are the truth, and its account has what it holds."""

    __tablename__ = "hold"
    id: str = Field(primary_key=True)
    startup: str = Field(index=True)
    cohort: str
    amount_ucr: int = Field(sa_column=_int64())
    placed_s: int = Field(sa_column=_int64())
    expires_s: int = Field(sa_column=_int64())
    state: str = Field(index=True)
    settled_ucr: int = Field(sa_column=_int64())
    ended_s: int | None = Field(default=None, sa_column=_int64(nullable=True))
    reason: str


class OperatorActionRow(SQLModel, table=True):
    """Which transfer keeps the order and the answer of a deed, by the deed's key."""

    __tablename__ = "operator_action"
    key: str = Field(primary_key=True)
    transfer_id: int = Field(foreign_key="transfer.id")


class RunRow(SQLModel, table=True):
    """A run of a server (see quotas.metering.runs.Run)."""

    __tablename__ = "run"
    __table_args__ = (
        Index("ix_run_end", "end_s"),
        Index("ix_run_server_start", "server_id", "start_s"),
    )
    id: str = Field(primary_key=True)
    server_id: str
    server_name: str
    zone: str
    project_id: str
    startup: str = Field(index=True)
    flavor: str
    gpus: int
    rate_ucr_per_h: int | None = Field(default=None, sa_column=_int64(nullable=True))
    start_s: int = Field(sa_column=_int64())
    up_since_s: int = Field(sa_column=_int64())
    started_by: str
    posted_until_s: int = Field(sa_column=_int64())
    state: str
    end_s: int | None = Field(default=None, sa_column=_int64(nullable=True))
    start_error_s: int
    end_error_s: int


class UnconfirmedRow(SQLModel, table=True):
    """A stretch set aside until the provider's bill decides."""

    __tablename__ = "unconfirmed"
    server_id: str = Field(primary_key=True)
    start_s: int = Field(sa_column=_int64(primary_key=True))
    end_s: int = Field(sa_column=_int64())
    startup: str = Field(index=True)
    flavor: str
    rate_ucr_per_h: int | None = Field(default=None, sa_column=_int64(nullable=True))


class ZoneRow(SQLModel, table=True):
    """How far a zone is known, and how its last sweep ended."""

    __tablename__ = "zone"
    name: str = Field(primary_key=True)
    confirmed_until_s: int | None = Field(default=None, sa_column=_int64(nullable=True))
    swept_s: int = Field(sa_column=_int64())
    outcome: str
    detail: str


class DecisionRow(SQLModel, table=True):
    """A decision with the inputs it was made from: append-only."""

    __tablename__ = "decision"
    id: int | None = Field(default=None, primary_key=True)
    at_s: int = Field(sa_column=_int64())
    mode: str
    verb: str
    startup: str = Field(index=True)
    server_id: str = Field(index=True)
    rule: str
    version: int
    episode: str
    reason: str
    inputs: str


class NoticeRow(SQLModel, table=True):
    """A promise made before a stop, with its deadline (see quotas.decisions.notices.Notice)."""

    __tablename__ = "notice"
    __table_args__ = (Index("ix_notice_open", "state"),)
    id: int | None = Field(default=None, primary_key=True)
    startup: str = Field(index=True)
    server_id: str
    server_name: str
    zone: str
    rule: str
    episode: str
    mode: str
    opened_s: int = Field(sa_column=_int64())
    deadline_s: int = Field(sa_column=_int64())
    state: str
    text: str
    off_s: int | None = Field(default=None, sa_column=_int64(nullable=True))
    reminded_s: int | None = Field(default=None, sa_column=_int64(nullable=True))
    snoozed_s: int = Field(sa_column=_int64())
    acknowledged_s: int | None = Field(default=None, sa_column=_int64(nullable=True))
    acknowledged_by: str
    is_breached: bool


class IntentRow(SQLModel, table=True):
    """An action to be done, once, before `not_after_s` (see quotas.intents.Intent)."""

    __tablename__ = "intent"
    __table_args__ = (Index("ix_intent_state", "state"),)
    id: int | None = Field(default=None, primary_key=True)
    notice_id: int | None = Field(default=None, foreign_key="notice.id")
    action: str
    startup: str = Field(default="", index=True)
    server_id: str = Field(index=True)
    zone: str
    replaces: str
    decided_s: int = Field(sa_column=_int64())
    not_after_s: int = Field(sa_column=_int64())
    state: str
    sent_s: int | None = Field(default=None, sa_column=_int64(nullable=True))
    ended_s: int | None = Field(default=None, sa_column=_int64(nullable=True))
    detail: str


class RevokedRulesRow(SQLModel, table=True):
    """Rules of a policy as they were before a startup was closed (see quotas.iam.narrowing)."""

    __tablename__ = "revoked_rules"
    __table_args__ = (Index("ix_withheld_open", "state"),)
    id: int | None = Field(default=None, primary_key=True)
    startup: str = Field(index=True)
    policy_id: str
    policy_name: str
    before: str
    revoked: str
    recorded_s: int = Field(sa_column=_int64())
    state: str
    ended_s: int | None = Field(default=None, sa_column=_int64(nullable=True))
    detail: str


class RequestRow(SQLModel, table=True):
    """GPUs that a startup asks for, and what became of it (see quotas.queue.requests.Request)."""

    __tablename__ = "request"
    __table_args__ = (Index("ix_request_state", "state"),)
    id: int | None = Field(default=None, primary_key=True)
    key: str | None = Field(default=None, unique=True)
    startup: str = Field(index=True)
    pool: str
    gpus: int
    duration_s: int = Field(sa_column=_int64())
    reason: str
    actor: str
    opened_s: int = Field(sa_column=_int64())
    state: str
    met_s: int | None = Field(default=None, sa_column=_int64(nullable=True))
    ended_s: int | None = Field(default=None, sa_column=_int64(nullable=True))
    detail: str
    quota_gpus: int | None = None


class OveruseRow(SQLModel, table=True):
    """Usage above a share, while it lasted (see quotas.decisions.snapshot.Excess)."""

    __tablename__ = "overuse"
    __table_args__ = (Index("ix_excess_ended", "ended_s"),)
    startup: str = Field(primary_key=True)
    pool: str = Field(primary_key=True)
    since_s: int = Field(sa_column=_int64(primary_key=True))
    gpus: int
    owner: str | None = None
    deadline_s: int = Field(sa_column=_int64())
    reason: str
    ended_s: int | None = Field(default=None, sa_column=_int64(nullable=True))


class OverrideRow(SQLModel, table=True):
    """What an operator said: append-only (see quotas.decisions.overrides.Word)."""

    __tablename__ = "override"
    id: int | None = Field(default=None, primary_key=True)
    family: str
    subject: str = Field(index=True)
    value: str
    at_s: int = Field(sa_column=_int64())
    until_s: int | None = Field(default=None, sa_column=_int64(nullable=True))
    actor: str
    reason: str
    before: str


class LeaseRow(SQLModel, table=True):
    """Leadership: who may write the cycle's results, until when, under which epoch."""

    __tablename__ = "lease"
    name: str = Field(primary_key=True)
    holder: str
    epoch: int
    expires_s: int = Field(sa_column=_int64())


class TokenRow(SQLModel, table=True):
    """A token's terms under its hash (see quotas.model.tokens.Token); the token is not kept."""

    __tablename__ = "token"
    id: str = Field(primary_key=True)
    hash: str = Field(unique=True)
    name: str
    startup: str = Field(index=True)
    scopes: str
    created_s: int = Field(sa_column=_int64())
    expires_s: int = Field(sa_column=_int64())
    revoked_s: int | None = Field(default=None, sa_column=_int64(nullable=True))
    actor: str


class InboxAnswerRow(SQLModel, table=True):
    """What became of a write that came through the inbox: append-only."""

    __tablename__ = "inbox_answer"
    id: str = Field(primary_key=True)
    startup: str
    kind: str
    at_s: int = Field(sa_column=_int64())
    state: str
    text: str
    reference: int | None = None


_TABLES = SQLModel.metadata.tables
TRANSFER = _TABLES["transfer"]
ENTRY = _TABLES["entry"]
BALANCE = _TABLES["balance"]
STATEMENT = _TABLES["statement"]
CHAIN_HEAD = _TABLES["chain_head"]
DECISION = _TABLES["decision"]
INTENT = _TABLES["intent"]
NOTICE = _TABLES["notice"]
GRANT = _TABLES["credit_grant"]
HOLD = _TABLES["hold"]
OPERATOR_ACTION = _TABLES["operator_action"]
OFFER = price_tables.OFFER
PRICE = price_tables.PRICE
LISTING = price_tables.LISTING
OUTBOX = outbox_table.OUTBOX
PROGRAM = _TABLES["program_version"]
RUN = _TABLES["run"]
ZONE = _TABLES["zone"]
UNCONFIRMED = _TABLES["unconfirmed"]
LEASE = _TABLES["lease"]
REVOKED_RULES = _TABLES["revoked_rules"]
REQUEST = _TABLES["request"]
OVERUSE = _TABLES["overuse"]
OVERRIDE = _TABLES["override"]
TOKEN = _TABLES["token"]
INBOX_ANSWER = _TABLES["inbox_answer"]
