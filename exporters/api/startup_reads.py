"""Everything that a startup may see, read through `StartupReads`.

This is the one place of isolation: a `StartupReads` belongs to one name, and none of its methods
takes another. The API's routes and the portal both read through it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from sqlalchemy import RowMapping, case, func, select

from exporters.api.models import (
    Charge,
    CreditsAnswer,
    Decision,
    DecisionExplanation,
    Event,
    EventsAnswer,
    ExpiringNext,
    Notice,
    Pace,
    PageOf,
    PoolQuota,
    PoolUsage,
    QuotaAnswer,
    Server,
    ServersAnswer,
    ServerStop,
    StartupRequest,
    StatementAnswer,
    StatementsAnswer,
    UsageAnswer,
)
from exporters.api.serializers import (
    charge_of,
    decision_of,
    explanation_of,
    notice_of,
    request_of,
    statement_of,
    statement_summary,
)
from quotas.book import Book
from quotas.book.reads.decisions import decision_from_row, intents_of, last_decisions
from quotas.book.reads.statements import read_statement, read_statements
from quotas.book.schema.tables import DECISION, ENTRY, NOTICE, REQUEST, TRANSFER
from quotas.ledger.transfers import grant_account, usage_account
from quotas.messages.catalogue import text_of
from quotas.messages.explain import explain
from quotas.metering.runs import Run
from quotas.model.units import DAY_S, format_credits, format_instant
from quotas.rules.pace import pace_facts
from quotas.state.notices import LIVE_NOTICES
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

    def credits(self) -> CreditsAnswer:
        """Its credits, all from one instant."""
        status = self.status()
        money = status.balance
        first = money.expiring
        return CreditsAnswer(
            as_of=format_instant(money.as_of_s),
            known_until=_instant(self.program_status.known_until_s),
            granted=format_credits(money.granted_ucr),
            posted=format_credits(money.posted_ucr),
            accrued=format_credits(money.accrued_ucr),
            held=format_credits(money.held_ucr),
            reserve=format_credits(money.reserve_ucr),
            available=format_credits(money.available_ucr),
            unconfirmed=format_credits(status.unconfirmed_ucr),
            charged=format_credits(status.charged_ucr),
            expiring_next=None
            if first is None
            else ExpiringNext(
                grant=first.grant,
                credits=format_credits(first.amount_ucr),
                expires=format_instant(first.at_s),
            ),
            burn_per_hour=format_credits(money.burn_ucr_per_h),
            runway_s=status.runway_s,
            exhausted_at=_instant(money.exhausted_s),
            pace=None
            if status.pace is None
            else Pace(
                allowance=format_credits(status.pace.allowance_ucr),
                spent=format_credits(status.pace.spent_ucr),
                is_ahead=status.pace.is_ahead,
                text=text_of("pace", pace_facts(status.pace)),
            ),
            level=status.level,
            level_reason=status.level_reason,
        )

    def usage(self) -> UsageAnswer:
        """GPUs that run now, by pool, and the cost to date."""
        status = self.status()
        by_pool: dict[str | None, list[Run]] = defaultdict(list)
        for run in status.runs:
            by_pool[self._pool(run)].append(run)
        return UsageAnswer(
            as_of=format_instant(status.balance.as_of_s),
            known_until=_instant(self.program_status.known_until_s),
            gpus=status.gpus,
            pools=[
                PoolUsage(
                    pool=pool,
                    gpus=sum(run.gpus for run in runs),
                    burn_per_hour=format_credits(sum(run.rate_ucr_per_h or 0 for run in runs)),
                )
                for pool, runs in sorted(by_pool.items(), key=lambda item: item[0] or "")
            ],
            charged=format_credits(status.charged_ucr),
            accrued=format_credits(status.balance.accrued_ucr),
            unconfirmed=format_credits(status.unconfirmed_ucr),
        )

    def servers(self) -> ServersAnswer:
        """Its billable servers, each with its notice."""
        status = self.status()
        at_s = status.balance.as_of_s
        stops = {
            notice.server_id: ServerStop(
                notice=notice.id or 0,
                rule=notice.rule,
                deadline=format_instant(notice.deadline_s),
                seconds_left=max(0, notice.deadline_s - at_s),
            )
            for notice in sorted(status.notices, key=lambda each: -each.deadline_s)
            if notice.server_id and notice.mode == "enforce"
        }
        return ServersAnswer(
            as_of=format_instant(at_s),
            items=[
                Server(
                    id=run.server_id,
                    name=run.server_name,
                    zone=run.zone,
                    flavor=run.flavor,
                    pool=self._pool(run),
                    gpus=run.gpus,
                    state=run.state,
                    since=format_instant(run.up_since_s),
                    credits_per_hour=None
                    if run.rate_ucr_per_h is None
                    else format_credits(run.rate_ucr_per_h),
                    stop=stops.get(run.server_id),
                )
                for run in sorted(status.runs, key=lambda each: (each.up_since_s, each.id))
            ],
        )

    def quota(self) -> QuotaAnswer:
        """Its share of each pool."""
        return QuotaAnswer(
            as_of=format_instant(self.program_status.at_s),
            items=[
                PoolQuota(
                    pool=share.pool,
                    nominal=share.nominal,
                    share=share.share,
                    ceiling=share.ceiling,
                    usage=share.usage,
                    headroom=max(0, share.ceiling - share.usage),
                    borrowed=share.borrowed,
                    lent=share.lent,
                    limited_by=share.limited_by,
                    reason=share.reason,
                )
                for share in self.status().shares
            ],
        )

    def decisions(self, book: Book, before: int | None, limit: int) -> PageOf[Decision]:
        """Its decisions, newest first."""
        rows = select(DECISION).where(DECISION.c.startup == self.name)
        found = _page(book, rows, DECISION.c.id, before, limit)
        return PageOf(
            items=[decision_of(row) for row in found[:limit]], next=_next_cursor(found, limit)
        )

    def explanation(self, book: Book, id: int) -> DecisionExplanation | None:
        """The explanation of one of its decisions; None if it has no decision of that number."""
        rows = last_decisions(book, 1, id=id, startup=self.name)
        if not rows:
            return None
        decided, notices = decision_from_row(rows[0]), self.status().notices
        intents = intents_of(book, decided)
        at_s, now_s = rows[0]["at_s"], self.program_status.at_s
        return explanation_of(id, explain(decided, at_s, notices, now_s, intents))

    def statements(self, book: Book) -> StatementsAnswer:
        """Its months, newest first."""
        with book.reading() as connection:
            found = list(read_statements(connection, self.name, self.program_status.at_s, None))
        return StatementsAnswer(items=[statement_summary(each) for each in reversed(found)])

    def statement(self, book: Book, month_s: int) -> StatementAnswer | None:
        """One of its months; None if none begins at that instant."""
        if month_s > self.program_status.at_s:
            return None
        with book.reading() as connection:
            found = read_statement(connection, self.name, month_s)
        return None if found is None else statement_of(found)

    def notices(
        self, book: Book, before: int | None, limit: int, *, only_live: bool
    ) -> PageOf[Notice]:
        """Its notices, newest first."""
        rows = select(NOTICE).where(NOTICE.c.startup == self.name)
        if only_live:
            rows = rows.where(NOTICE.c.state.in_(LIVE_NOTICES))
        found = _page(book, rows, NOTICE.c.id, before, limit)
        return PageOf(
            items=[notice_of(row) for row in found[:limit]], next=_next_cursor(found, limit)
        )

    def charges(self, book: Book, before: int | None, limit: int) -> PageOf[Charge]:
        """Its charges, newest first."""
        rows = (
            select(TRANSFER.c.id, TRANSFER.c.detail, ENTRY.c.amount_ucr)
            .join(ENTRY, ENTRY.c.transfer_id == TRANSFER.c.id)
            .where(TRANSFER.c.startup == self.name, TRANSFER.c.kind == "charge")
            .where(ENTRY.c.account == usage_account(self.name))
        )
        found = _page(book, rows, TRANSFER.c.id, before, limit)
        return PageOf(
            items=[charge_of(row) for row in found[:limit]], next=_next_cursor(found, limit)
        )

    def requests(self, book: Book, before: int | None, limit: int) -> PageOf[StartupRequest]:
        """Its requests, newest first."""
        rows = select(REQUEST).where(REQUEST.c.startup == self.name)
        found = _page(book, rows, REQUEST.c.id, before, limit)
        return PageOf(
            items=[request_of(row) for row in found[:limit]], next=_next_cursor(found, limit)
        )

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

    def events(self, book: Book, after: tuple[int, int], limit: int) -> EventsAnswer:
        """Its decisions and notices after a cursor, oldest first."""
        with book.reading() as connection:
            decisions, notices = (
                connection.execute(
                    select(table)
                    .where(table.c.startup == self.name, table.c.id > seen)
                    .order_by(table.c.id)
                    .limit(limit)
                ).mappings()
                for table, seen in zip((DECISION, NOTICE), after, strict=True)
            )
            merged_rows = _merge_by_instant(
                [decision_of(r) for r in decisions], [notice_of(r) for r in notices]
            )
        decided, noticed = after
        items: list[Event] = []
        for each in merged_rows[:limit]:
            if isinstance(each, Decision):
                items.append(Event(kind="decision", at=each.at, decision=each))
                decided = each.id
            else:
                items.append(Event(kind="notice", at=each.opened, notice=each))
                noticed = each.id
        return EventsAnswer(items=items, next=f"{decided}-{noticed}")

    def _pool(self, run: Run) -> str | None:
        pool = self.program_status.program.pool_of(run.flavor)
        return pool.name if pool else None


def _instant(at_s: int | None) -> str | None:
    return None if at_s is None else format_instant(at_s)


def _page(book: Book, rows: Any, key: Any, before: int | None, limit: int) -> list[RowMapping]:
    """One row more than the limit, newest first, so that the caller sees whether more follow."""
    if before is not None:
        rows = rows.where(key < before)
    with book.reading() as connection:
        return list(connection.execute(rows.order_by(key.desc()).limit(limit + 1)).mappings())


def _next_cursor(found: list[RowMapping], limit: int) -> str | None:
    return str(found[limit - 1]["id"]) if len(found) > limit else None


def _merge_by_instant(decisions: list[Decision], notices: list[Notice]) -> list[Decision | Notice]:
    """Both by instant, each in its own order, so that a cursor of two numbers skips nothing."""
    merged: list[Decision | Notice] = []
    left, right = list(reversed(decisions)), list(reversed(notices))
    while left or right:
        is_decision = bool(left) and (not right or left[-1].at <= right[-1].opened)
        merged.append(left.pop() if is_decision else right.pop())
    return merged
