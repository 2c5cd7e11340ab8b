"""Everything that a startup may see, read through `StartupReads`.

This is the one place of isolation: a `StartupReads` belongs to one name, and none of its methods
takes another. The API's routes and the portal both read through it.
"""

from __future__ import annotations

import heapq
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import RowMapping, case, func, select

from exporters.api import models
from quotas.book import Book
from quotas.book.reads.decisions import decision_from_row, intents_of, last_decisions
from quotas.book.reads.statements import read_statement, read_statements
from quotas.book.schema.tables import DECISION, ENTRY, NOTICE, REQUEST, TRANSFER
from quotas.ledger.transfers import grant_account, usage_account
from quotas.messages.catalogue import notice_text, reason_text, text_of
from quotas.messages.catalogue.requests import request_detail
from quotas.messages.explain import explain
from quotas.metering.runs import Run
from quotas.model.units import DAY_S
from quotas.rules.pace import pace_facts
from quotas.state.notices import LIVE_NOTICES, Notice
from quotas.state.requests import QUOTA, Request
from quotas.view import ProgramStatus, StartupStatus


@dataclass(frozen=True, slots=True)
class CreditMovement:
    """A change of a startup's grants. Charges are one movement a day, at the day's end."""

    at_s: int
    amount_ucr: int
    is_step: bool


@dataclass(frozen=True, slots=True)
class StartupReads:
    """The data of one startup: from the status at one instant, and from rows of the book."""

    name: str
    program_status: ProgramStatus

    def status(self) -> StartupStatus:
        """The status of the startup."""
        return self.program_status.startup(self.name)

    def credits(self) -> models.CreditsAnswer:
        """Credits left, burn and runway, all from one instant."""
        status = self.status()
        money, pace = status.balance, status.pace
        first = money.expiring
        return models.CreditsAnswer.of(
            money,
            status,
            self.program_status,
            burn_per_hour=money.burn_ucr_per_h,
            exhausted_at=money.exhausted_s,
            expiring_next=first
            and models.ExpiringNext.of(first, credits=first.amount_ucr, expires=first.at_s),
            pace=pace and models.Pace.of(pace, text=text_of("pace", pace_facts(pace))),
        )

    def usage(self) -> models.UsageAnswer:
        """GPUs of billable servers now, and the cost to date."""
        status = self.status()
        by_pool: dict[str | None, list[Run]] = defaultdict(list)
        for run in status.runs:
            by_pool[self._pool(run)].append(run)
        pools = [
            models.PoolUsage.of(
                pool=pool,
                gpus=sum(run.gpus for run in runs),
                burn_per_hour=sum(run.rate_ucr_per_h or 0 for run in runs),
            )
            for pool, runs in sorted(by_pool.items(), key=lambda item: item[0] or "")
        ]
        return models.UsageAnswer.of(status, status.balance, self.program_status, pools=pools)

    def servers(self) -> models.ServersAnswer:
        """Every billable server, its cost, and its stop if one is announced."""
        status = self.status()
        at_s = status.balance.as_of_s
        stops = {
            notice.server_id: models.ServerStop.of(
                notice, notice=notice.id or 0, seconds_left=max(0, notice.deadline_s - at_s)
            )
            for notice in sorted(status.notices, key=lambda each: -each.deadline_s)
            if notice.server_id and notice.mode == "enforce"
        }
        items = [
            models.Server.of(
                run,
                id=run.server_id,
                name=run.server_name,
                pool=self._pool(run),
                since=run.up_since_s,
                credits_per_hour=run.rate_ucr_per_h,
                stop=stops.get(run.server_id),
            )
            for run in sorted(status.runs, key=lambda each: (each.up_since_s, each.id))
        ]
        return models.ServersAnswer.of(as_of=at_s, items=items)

    def quota(self) -> models.QuotaAnswer:
        """GPUs by pool: nominal, share, ceiling, and what limits them."""
        items = [
            models.PoolQuota.of(share, headroom=max(0, share.ceiling - share.usage))
            for share in self.status().shares
        ]
        return models.QuotaAnswer.of(as_of=self.program_status.at_s, items=items)

    def decisions(
        self, book: Book, before: int | None, limit: int
    ) -> models.PageOf[models.Decision]:
        """Its decisions, newest first."""
        rows = select(DECISION).where(DECISION.c.startup == self.name)
        return _page(book, rows, DECISION.c.id, _decision_of, before, limit)

    def explanation(self, book: Book, id: int) -> models.DecisionExplanation | None:
        """The explanation of one of its decisions; None if it has no decision of that number."""
        rows = last_decisions(book, 1, id=id, startup=self.name)
        if not rows:
            return None
        decided, notices = decision_from_row(rows[0]), self.status().notices
        intents, now_s = intents_of(book, decided), self.program_status.at_s
        found = explain(decided, rows[0]["at_s"], notices, now_s, intents)
        return models.DecisionExplanation.of(found, decision=id, changed_by=found.who_may_change_it)

    def statements(self, book: Book) -> models.StatementsAnswer:
        """Its months, newest first."""
        with book.reading() as connection:
            found = list(read_statements(connection, self.name, self.program_status.at_s, None))
        return models.StatementsAnswer(
            items=[models.StatementSummary.of(each) for each in reversed(found)]
        )

    def statement(self, book: Book, month_s: int) -> models.StatementAnswer | None:
        """One of its months; None if none begins at that instant."""
        if month_s > self.program_status.at_s:
            return None
        with book.reading() as connection:
            found = read_statement(connection, self.name, month_s)
        if found is None:
            return None
        # The lines leave out the keys of transfers, which name the operator who acted.
        lines = [models.StatementEntry.of(line) for line in found["lines"]]
        return models.StatementAnswer.of(found, lines=lines)

    def notices(
        self, book: Book, before: int | None, limit: int, *, only_live: bool
    ) -> models.PageOf[models.Notice]:
        """Its notices, newest first."""
        rows = select(NOTICE).where(NOTICE.c.startup == self.name)
        if only_live:
            rows = rows.where(NOTICE.c.state.in_(LIVE_NOTICES))
        return _page(book, rows, NOTICE.c.id, _notice_of, before, limit)

    def charges(self, book: Book, before: int | None, limit: int) -> models.PageOf[models.Charge]:
        """Its charges, newest first."""
        rows = (
            select(TRANSFER.c.id, TRANSFER.c.detail, ENTRY.c.amount_ucr)
            .join(ENTRY, ENTRY.c.transfer_id == TRANSFER.c.id)
            .where(TRANSFER.c.startup == self.name, TRANSFER.c.kind == "charge")
            .where(ENTRY.c.account == usage_account(self.name))
        )
        return _page(book, rows, TRANSFER.c.id, _charge_of, before, limit)

    def requests(
        self, book: Book, before: int | None, limit: int
    ) -> models.PageOf[models.StartupRequest]:
        """Its requests, newest first."""
        rows = select(REQUEST).where(REQUEST.c.startup == self.name)
        return _page(book, rows, REQUEST.c.id, _request_of, before, limit)

    def credit_movements(self, book: Book) -> tuple[CreditMovement, ...]:
        """The movements of its credits, in order of time."""
        is_step = TRANSFER.c.kind != "charge"
        day_end_s = TRANSFER.c.at_s - TRANSFER.c.at_s % DAY_S + DAY_S
        at_s = case((is_step, TRANSFER.c.at_s), else_=day_end_s).label("moved_s")
        rows = (
            select(at_s, func.sum(ENTRY.c.amount_ucr), is_step.label("is_step"))
            .join(ENTRY, ENTRY.c.transfer_id == TRANSFER.c.id)
            .where(TRANSFER.c.startup == self.name)
            .where(ENTRY.c.account.startswith(grant_account(self.name, ""), autoescape=True))
            .group_by("moved_s", "is_step")
            .order_by("moved_s", "is_step")
        )
        with book.reading() as connection:
            found = connection.execute(rows)
            return tuple(CreditMovement(at_s, int(ucr), is_step) for at_s, ucr, is_step in found)

    def events(self, book: Book, after: tuple[int, int], limit: int) -> models.EventsAnswer:
        """Its decisions and notices after a cursor, oldest first."""
        with book.reading() as connection:
            decisions, notices = (
                connection.execute(
                    select(table)
                    .where(table.c.startup == self.name, table.c.id > seen)
                    .order_by(table.c.id)
                    .limit(limit)
                )
                .mappings()
                .all()
                for table, seen in zip((DECISION, NOTICE), after, strict=True)
            )
        # Each list keeps its own order, so that a cursor of two numbers skips nothing.
        merged = heapq.merge(
            [
                models.Event(kind="decision", at=d.at, decision=d)
                for d in map(_decision_of, decisions)
            ],
            [models.Event(kind="notice", at=n.opened, notice=n) for n in map(_notice_of, notices)],
            key=lambda event: event.at,
        )
        items = list(islice(merged, limit))
        decided = max([after[0], *(each.decision.id for each in items if each.decision)])
        noticed = max([after[1], *(each.notice.id for each in items if each.notice)])
        return models.EventsAnswer(items=items, next=f"{decided}-{noticed}")

    def _pool(self, run: Run) -> str | None:
        pool = self.program_status.program.pool_of(run.flavor)
        return pool.name if pool else None


def _page(
    book: Book,
    rows: Any,
    key: Any,
    item_of: Callable[[RowMapping], models.Item],
    before: int | None,
    limit: int,
) -> models.PageOf[models.Item]:
    """The newest rows before a number, newest first."""
    if before is not None:
        rows = rows.where(key < before)
    # One row more than the limit shows whether more follow.
    newest_first = rows.order_by(key.desc()).limit(limit + 1)
    with book.reading() as connection:
        found = connection.execute(newest_first).mappings().all()
    cursor = str(found[limit - 1]["id"]) if len(found) > limit else None
    return models.PageOf(items=[item_of(row) for row in found[:limit]], next=cursor)


def _decision_of(row: RowMapping) -> models.Decision:
    return models.Decision.of(
        row, server=row["server_id"], reason=reason_text(row["rule"], row["verb"], row["inputs"])
    )


def _notice_of(row: RowMapping) -> models.Notice:
    return models.Notice.of(row, server=row["server_id"], text=notice_text(Notice(**row)))


def _charge_of(row: RowMapping) -> models.Charge:
    """A charge's transfer, with the amount of its usage entry."""
    return models.Charge.of(row, json.loads(row["detail"]), credits=row["amount_ucr"])


def _request_of(row: RowMapping) -> models.StartupRequest:
    return models.StartupRequest.of(
        row,
        closed=row["ended_s"],
        fulfilled=row["met_s"],
        refused_for=None if row["quota_gpus"] is None else QUOTA,
        detail=request_detail(Request(**row)),
    )
