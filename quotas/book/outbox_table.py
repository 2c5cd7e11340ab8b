"""Which rows hold the messages that wait to be sent? One table (see quotas.book.cycle.outbox)."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index
from sqlmodel import Field, SQLModel


class OutboxRow(SQLModel, table=True):
    """A message to one recipient, and what became of it (see quotas.book.cycle.outbox)."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index("ix_outbox_due", "state", "due_s"),
        Index("ix_outbox_recipient", "recipient", "state"),
    )
    id: int | None = Field(default=None, primary_key=True)
    event: str = Field(unique=True)
    kind: str
    audience: str
    recipient: str
    startup: str
    server_name: str
    rule: str
    notice_id: int = Field(index=True)
    created_s: int = Field(sa_type=BigInteger)
    due_s: int = Field(sa_type=BigInteger)
    deadline_s: int = Field(sa_type=BigInteger)
    is_urgent: bool
    subject: str
    text: str
    state: str
    batch: str = Field(index=True)
    attempts: int
    claimed_s: int | None = Field(default=None, sa_type=BigInteger)
    epoch: int
    ended_s: int | None = Field(default=None, sa_type=BigInteger)
    detail: str


OUTBOX = SQLModel.metadata.tables["outbox"]
