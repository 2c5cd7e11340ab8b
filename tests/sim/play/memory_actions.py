"""Operator actions on the book in memory, with the same results as on the real book."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

from quotas.book.cycle.state import BookState
from quotas.enforcement.reminders import snooze_notice
from quotas.ledger.balance import CYCLE_S, balance
from quotas.ledger.corrections import Refused, expire_refunds
from quotas.ledger.holds import Hold, HoldEnding, draws, end_hold, grants_outliving, hold_transfer
from quotas.metering.stop_latency import reserves_s
from quotas.state.overrides import Override

from .memory_book import InMemoryBook


def set_override(book: InMemoryBook, override: Override) -> None:
    """Keep an override."""
    book.overrides.append(replace(override, id=len(book.overrides) + 1))


def changed_since(book: InMemoryBook, state: BookState) -> bool:
    """Whether an override, a program or a transfer came after a state was read."""
    fresh = islice(reversed(book.posted.values()), len(book.posted) - state.newest_transfer)
    said = max((override.id or 0 for override in state.enforcement.overrides), default=0)
    moved = any(posted.epoch == 0 for posted in fresh)
    return moved or len(book.overrides) > said or book.version > state.program_version


def place(book: InMemoryBook, startup: str, amount_ucr: int, length_s: int, now_s: int) -> None:
    """Set available credits aside. Raises Refused."""
    state = book.state()
    assert state.program is not None
    policy = state.program.policy
    _, reserved_s = reserves_s(policy, [startup], state.runs, state.stops, CYCLE_S)
    own = balance(
        startup,
        now_s,
        state.grants,
        state.runs,
        state.confirmed,
        reserved_s[startup],
        state.holds,
    )
    mine = [grant for grant in state.grants if grant.startup == startup]
    lasting = grants_outliving(mine, now_s, now_s + length_s)
    if amount_ucr > min(own.available_ucr, sum(grant.left_ucr for grant in lasting)):
        raise Refused("more than there is")
    id = f"h{len(book.posted) + 1}"
    drawn = draws(lasting, amount_ucr)
    hold = Hold(id, startup, lasting[0].cohort, now_s, now_s + length_s, drawn)
    book.post([hold_transfer(hold, "aside")], now_s, 0, "operator")
    book.holds[id] = hold


def end(book: InMemoryBook, id: str, ending: HoldEnding, settled_ucr: int, now_s: int) -> None:
    """Settle or void a hold. What returns to an ended grant expires at once."""
    hold = book.holds[id]
    if not hold.placed_s <= now_s < hold.expires_s:
        raise Refused("it ran out")
    ended = end_hold(hold, ending, now_s, "done", settled_ucr)
    grants = {grant.account: grant for grant in book.state().grants}
    book.post([ended, *expire_refunds(ended, grants, now_s)], now_s, 0, "operator")


def answer(book: InMemoryBook, id: int, for_s: int, now_s: int) -> None:
    """Snooze a notice, or acknowledge it if `for_s` is 0. Raises Refused."""
    notice = book.notices[id]
    assert book.program is not None
    if for_s:
        moved = snooze_notice(notice, book.program.policy, for_s, now_s)
    else:
        moved = replace(notice, acknowledged_s=now_s, acknowledged_by="cto")
    book.notices[id] = moved
    if id in book.live:
        book.live[id] = moved
    if book.past.get(moved.subject, moved).id == id and moved.off_s is not None:
        book.past[moved.subject] = moved
