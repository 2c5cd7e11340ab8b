"""The first schema: every table, its indexes, and the triggers of the append-only tables."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from quotas.migrations.guards import append_only

revision = "0001"
down_revision = None

APPEND_ONLY = (
    "program_version",
    "transfer",
    "entry",
    "statement",
    "chain_head",
    "price",
    "listing",
    "decision",
    "override",
    "inbox_answer",
)


def upgrade() -> None:
    _program()
    _ledger()
    _statements()
    _prices()
    _metering()
    _decisions()
    _outbox()
    _closing()
    _requests()
    _operators()
    append_only(APPEND_ONLY)


def _columns(names: tuple[str, ...], kind: Any, options: dict[str, Any]) -> list[sa.Column[Any]]:
    return [sa.Column(name, kind, **{"nullable": False, **options}) for name in names]


def _text(*names: str, **options: Any) -> list[sa.Column[Any]]:
    return _columns(names, sa.String(), options)


def _int(*names: str, **options: Any) -> list[sa.Column[Any]]:
    return _columns(names, sa.Integer(), options)


def _int64(*names: str, **options: Any) -> list[sa.Column[Any]]:
    return _columns(names, sa.BigInteger(), options)


def _bool(*names: str, **options: Any) -> list[sa.Column[Any]]:
    return _columns(names, sa.Boolean(), options)


def _program() -> None:
    op.create_table(
        "program_version",
        *_int("id", primary_key=True),
        *_text("digest", "body"),
        *_int64("applied_s"),
        *_text("actor"),
    )
    op.create_table(
        "credit_grant",
        *_int("id", primary_key=True),
        *_text("grant_id", "startup", "cohort", "category"),
        *_int("priority"),
        *_int64("amount_ucr", "effective_s", "expires_s"),
        *_text("rolls_to", nullable=True),
        *_int("roll_ppm", nullable=True),
        *_int64("roll_most_ucr", nullable=True),
        sa.UniqueConstraint("startup", "grant_id"),
    )


def _ledger() -> None:
    op.create_table(
        "transfer",
        *_int("id", primary_key=True),
        *_text("key", unique=True),
        *_text("kind"),
        *_text("cohort", "startup", index=True),
        *_int64("at_s"),
        *_int64("recorded_s", index=True),
        *_int("epoch"),
        *_text("actor", "reason", "detail", "previous_hash", "hash"),
    )
    op.create_table(
        "entry",
        sa.Column("transfer_id", sa.Integer(), sa.ForeignKey("transfer.id"), primary_key=True),
        *_int("position", primary_key=True),
        *_text("account", index=True),
        *_int64("amount_ucr"),
    )
    op.create_table("balance", *_text("account", primary_key=True), *_int64("amount_ucr"))
    op.create_table(
        "hold",
        *_text("id", primary_key=True),
        *_text("startup", index=True),
        *_text("cohort"),
        *_int64("amount_ucr", "placed_s", "expires_s"),
        *_text("state", index=True),
        *_int64("settled_ucr"),
        *_int64("ended_s", nullable=True),
        *_text("reason"),
    )
    op.create_table(
        "operator_action",
        *_text("key", primary_key=True),
        sa.Column("transfer_id", sa.Integer(), sa.ForeignKey("transfer.id"), nullable=False),
    )


def _statements() -> None:
    op.create_table(
        "statement",
        *_text("startup", primary_key=True),
        *_text("month", primary_key=True, index=True),
        *_int64("closed_s"),
        *_int("through_id", index=True),
        *_text("body", "hash"),
    )
    op.create_table(
        "chain_head",
        *_text("day", "cohort", primary_key=True),
        *_int("transfer_id", "transfers"),
        *_int64("moved_ucr"),
        *_text("hash"),
    )


def _prices() -> None:
    op.create_table(
        "price",
        *_int("id", primary_key=True),
        *_text("flavor"),
        *_int64("from_s", "rate_ucr_per_h", "recorded_s"),
        *_text("bearer", "source", "reason"),
        *_text("operator_action", nullable=True, unique=True),
        *_text("body", "answer"),
    )
    op.create_table(
        "listing",
        *_text("flavor", primary_key=True),
        *_int64("listed_s", primary_key=True),
        *_int64("rate_ucr_per_h"),
    )
    op.create_table(
        "offer",
        *_text("flavor", primary_key=True),
        *_int("gpus"),
        *_int64("scratch_bytes"),
    )


def _metering() -> None:
    op.create_table(
        "run",
        *_text("id", primary_key=True),
        *_text("server_id", "server_name", "zone", "project_id"),
        *_text("startup", index=True),
        *_text("flavor"),
        *_int("gpus"),
        *_int64("rate_ucr_per_h", nullable=True),
        *_int64("start_s", "posted_until_s"),
        *_text("state"),
        *_int64("end_s", nullable=True, index=True),
        *_int("start_error_s", "end_error_s"),
        *_int64("up_since_s"),
        *_text("started_by"),
    )
    op.create_index("ix_run_server_start", "run", ["server_id", "start_s"])
    op.create_table(
        "unconfirmed",
        *_text("server_id", primary_key=True),
        *_int64("start_s", primary_key=True),
        *_int64("end_s"),
        *_text("startup", index=True),
        *_text("flavor"),
        *_int64("rate_ucr_per_h", nullable=True),
    )
    op.create_table(
        "zone",
        *_text("name", primary_key=True),
        *_int64("confirmed_until_s", nullable=True),
        *_int64("swept_s"),
        *_text("outcome", "detail"),
    )


def _decisions() -> None:
    op.create_table(
        "decision",
        *_int("id", primary_key=True),
        *_int64("at_s"),
        *_text("mode", "verb"),
        *_text("startup", "server_id", index=True),
        *_text("rule", "episode", "inputs"),
    )
    op.create_table(
        "notice",
        *_int("id", primary_key=True),
        *_text("startup", index=True),
        *_text("server_id", "server_name", "zone", "rule", "episode", "mode"),
        *_int64("opened_s", "deadline_s"),
        *_text("state", index=True),
        *_text("facts"),
        *_int64("off_s", "reminded_s", nullable=True),
        *_int64("snoozed_s"),
        *_int64("acknowledged_s", nullable=True),
        *_text("acknowledged_by"),
        *_bool("is_breached"),
    )
    op.create_table(
        "intent",
        *_int("id", primary_key=True),
        sa.Column("notice_id", sa.Integer(), sa.ForeignKey("notice.id"), nullable=True),
        *_text("action"),
        *_text("server_id", index=True),
        *_text("zone", "replaces"),
        *_int64("decided_s", "not_after_s"),
        *_text("state", index=True),
        *_int64("sent_s", "ended_s", nullable=True),
        *_text("result", nullable=True),
        *_text("startup", index=True),
    )


def _outbox() -> None:
    op.create_table(
        "outbox",
        *_int("id", primary_key=True),
        *_text("event", unique=True),
        *_text("kind", "audience", "recipient", "startup", "server_name", "rule"),
        *_int("notice_id", index=True),
        *_int64("created_s", "due_s", "deadline_s"),
        *_bool("is_urgent"),
        *_text("facts", "state"),
        *_text("batch", index=True),
        *_int("attempts"),
        *_int64("claimed_s", nullable=True),
        *_int("epoch"),
        *_int64("ended_s", nullable=True),
        *_text("detail"),
    )
    op.create_index("ix_outbox_due", "outbox", ["state", "due_s"])
    op.create_index("ix_outbox_recipient", "outbox", ["recipient", "state"])


def _closing() -> None:
    op.create_table(
        "revoked_rules",
        *_int("id", primary_key=True),
        *_text("startup", index=True),
        *_text("policy_id", "policy_name", "before", "revoked"),
        *_int64("recorded_s"),
        *_text("state", index=True),
        *_int64("ended_s", nullable=True),
        *_text("outcome"),
    )


def _requests() -> None:
    op.create_table(
        "request",
        *_int("id", primary_key=True),
        *_text("key", nullable=True, unique=True),
        *_text("startup", index=True),
        *_text("pool"),
        *_int("gpus"),
        *_int64("duration_s"),
        *_text("reason", "actor"),
        *_int64("opened_s"),
        *_text("state", index=True),
        *_int64("met_s", "ended_s", nullable=True),
        *_text("detail"),
        *_int("quota_gpus", nullable=True),
    )
    op.create_table(
        "overuse",
        *_text("startup", "pool", primary_key=True),
        *_int64("since_s", primary_key=True),
        *_int("gpus"),
        *_text("owner", nullable=True),
        *_int64("deadline_s"),
        *_int("share_gpus", "nominal_gpus"),
        *_text("limited_by"),
        *_int64("ended_s", nullable=True, index=True),
    )


def _operators() -> None:
    op.create_table(
        "override",
        *_int("id", primary_key=True),
        *_text("family"),
        *_text("subject", index=True),
        *_text("value"),
        *_int64("at_s"),
        *_int64("until_s", nullable=True),
        *_text("actor", "reason", "before"),
    )
    op.create_table(
        "lease",
        *_text("name", primary_key=True),
        *_text("holder"),
        *_int("epoch"),
        *_int64("expires_s"),
    )
    op.create_table(
        "token",
        *_text("id", primary_key=True),
        *_text("hash", unique=True),
        *_text("name"),
        *_text("startup", index=True),
        *_text("scopes"),
        *_int64("created_s", "expires_s"),
        *_int64("revoked_s", nullable=True),
        *_text("actor"),
    )
    op.create_table(
        "inbox_answer",
        *_text("id", primary_key=True),
        *_text("startup", "kind"),
        *_int64("at_s"),
        *_text("state", "text"),
        *_int("reference", nullable=True),
    )
