"""Tables for sets of rows and for the ledger's hot path, read and written through Core."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    UniqueConstraint,
)

from quotas.book.schema.records import METADATA, CanonicalJson
from quotas.state.notices import IntentResult


def _text(*names: str, **options: Any) -> Iterator[Column[str]]:
    return (Column(name, String, **{"nullable": False, **options}) for name in names)


def _int(*names: str, **options: Any) -> Iterator[Column[int]]:
    return (Column(name, Integer, **{"nullable": False, **options}) for name in names)


def _int64(*names: str, **options: Any) -> Iterator[Column[int]]:
    return (Column(name, BigInteger, **{"nullable": False, **options}) for name in names)


TRANSFER = Table(
    "transfer",
    METADATA,
    *_int("id", primary_key=True),
    *_text("key", unique=True),
    *_text("kind"),
    *_text("cohort", "startup", index=True),
    *_int64("at_s"),
    *_int64("recorded_s", index=True),
    *_int("epoch"),
    *_text("actor", "reason", "detail", "previous_hash", "hash"),
)
"""Transfers: append-only, chained by hash within their cohort."""
ENTRY = Table(
    "entry",
    METADATA,
    Column("transfer_id", Integer, ForeignKey("transfer.id"), primary_key=True),
    *_int("position", primary_key=True),
    *_text("account", index=True),
    *_int64("amount_ucr"),
)
"""The sides of transfers: append-only."""
BALANCE = Table("balance", METADATA, *_text("account", primary_key=True), *_int64("amount_ucr"))
"""Sums of the accounts' entries: a projection that can be dropped and rebuilt."""
GRANT = Table(
    "credit_grant",
    METADATA,
    *_int("id", primary_key=True),
    *_text("grant_id", "startup", "cohort", "category"),
    *_int("priority"),
    *_int64("amount_ucr", "effective_s", "expires_s"),
    *_text("rolls_to", nullable=True),
    *_int("roll_ppm", nullable=True),
    *_int64("roll_most_ucr", nullable=True),
    UniqueConstraint("startup", "grant_id"),
)
"""Terms of grants; what is left of a grant is its account's balance."""
OPERATOR_ACTION = Table(
    "operator_action",
    METADATA,
    *_text("key", primary_key=True),
    Column("transfer_id", Integer, ForeignKey("transfer.id"), nullable=False),
)
"""Which transfer keeps the command and the answer of an operator action, by its key."""
STATEMENT = Table(
    "statement",
    METADATA,
    *_text("startup", primary_key=True),
    *_text("month", primary_key=True, index=True),
    *_int64("closed_s"),
    *_int("through_id", index=True),
    *_text("body", "hash"),
)
"""The startups' closed statements of UTC months ("2027-01"): append-only."""
CHAIN_HEAD = Table(
    "chain_head",
    METADATA,
    *_text("day", "cohort", primary_key=True),
    *_int("transfer_id", "transfers"),
    *_int64("moved_ucr"),
    *_text("hash"),
)
"""Each cohort's newest transfer at the first cycle of a UTC day: append-only."""
RUN = Table(
    "run",
    METADATA,
    *_text("id", primary_key=True),
    *_text("startup", index=True),
    *_text("server_id", "server_name", "zone", "project_id", "flavor", "started_by", "state"),
    *_int("gpus", "start_error_s", "end_error_s"),
    *_int64("start_s", "up_since_s", "posted_until_s"),
    *_int64("rate_ucr_per_h", nullable=True),
    *_int64("end_s", nullable=True, index=True),
    Index("ix_run_server_start", "server_id", "start_s"),
)
"""Runs of servers (see quotas.metering.runs.Run)."""
UNCONFIRMED = Table(
    "unconfirmed",
    METADATA,
    *_text("server_id", primary_key=True),
    *_int64("start_s", primary_key=True),
    *_int64("end_s"),
    *_text("startup", index=True),
    *_text("flavor"),
    *_int64("rate_ucr_per_h", nullable=True),
)
"""Stretches set aside until the provider's bill decides."""
ZONE = Table(
    "zone",
    METADATA,
    *_text("name", primary_key=True),
    *_int64("confirmed_until_s", nullable=True),
    *_int64("swept_s"),
    *_text("outcome", "detail"),
)
"""How far each zone is known, and how its last sweep ended."""
LISTING = Table(
    "listing",
    METADATA,
    *_text("flavor", primary_key=True),
    *_int64("listed_s", primary_key=True),
    *_int64("rate_ucr_per_h"),
)
"""Believable prices that the catalogue listed, from when each was first seen: append-only."""
OFFER = Table(
    "offer", METADATA, *_text("flavor", primary_key=True), *_int("gpus"), *_int64("scratch_bytes")
)
"""What the zones sell, as last listed, believable price or not."""
OVERUSE = Table(
    "overuse",
    METADATA,
    *_text("startup", "pool", primary_key=True),
    *_int64("since_s", primary_key=True),
    *_int("gpus", "share_gpus", "nominal_gpus"),
    *_text("owner", nullable=True),
    *_text("limited_by"),
    *_int64("deadline_s"),
    *_int64("ended_s", nullable=True, index=True),
)
"""Usage above shares, while it lasted (see quotas.state.snapshot.Overuse)."""
INTENT = Table(
    "intent",
    METADATA,
    *_int("id", primary_key=True),
    Column("notice_id", Integer, ForeignKey("notice.id")),
    *_text("action"),
    *_text("startup", "server_id", index=True),
    *_text("zone", "replaces"),
    *_int64("decided_s", "not_after_s"),
    *_text("state", index=True),
    *_int64("sent_s", "ended_s", nullable=True),
    Column("result", CanonicalJson(IntentResult), nullable=True),
)
"""Actions to be done, once, before `not_after_s` (see quotas.state.notices.Intent)."""
REVOKED_RULES = Table(
    "revoked_rules",
    METADATA,
    *_int("id", primary_key=True),
    *_text("startup", index=True),
    *_text("policy_id", "policy_name", "before", "revoked"),
    *_int64("recorded_s"),
    *_text("state", index=True),
    *_int64("ended_s", nullable=True),
    *_text("outcome"),
)
"""Rules of policies as they were before a startup was closed (see quotas.iam.narrowing)."""
OUTBOX = Table(
    "outbox",
    METADATA,
    *_int("id", primary_key=True),
    *_text("event", unique=True),
    *_text("kind", "audience", "recipient", "startup", "server_name", "rule"),
    *_int("notice_id", index=True),
    *_int64("created_s", "due_s", "deadline_s"),
    Column("is_urgent", Boolean, nullable=False),
    Column("facts", CanonicalJson, nullable=False),
    *_text("state", default="waiting"),
    *_text("batch", index=True, default=""),
    *_int("attempts", default=0),
    *_int64("claimed_s", nullable=True),
    *_int("epoch", default=0),
    *_int64("ended_s", nullable=True),
    *_text("detail", default=""),
    Index("ix_outbox_due", "state", "due_s"),
    Index("ix_outbox_recipient", "recipient", "state"),
)
"""Messages to one recipient each, and what became of them (see quotas.book.cycle.outbox)."""

# The tables of `records`.
PROGRAM = METADATA.tables["program_version"]
HOLD = METADATA.tables["hold"]
PRICE = METADATA.tables["price"]
LEASE = METADATA.tables["lease"]
DECISION = METADATA.tables["decision"]
NOTICE = METADATA.tables["notice"]
REQUEST = METADATA.tables["request"]
OVERRIDE = METADATA.tables["override"]
TOKEN = METADATA.tables["token"]
INBOX_ANSWER = METADATA.tables["inbox_answer"]
