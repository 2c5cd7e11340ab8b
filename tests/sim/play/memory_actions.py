"""What do people do to a book in Python? The orders that it knows, as the real one takes them."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

from quotas.book.cycle.state import State
from quotas.decisions.overrides import Word
from quotas.enforcement.reminders import snoozed
from quotas.ledger.balance import CYCLE_S, balance
from quotas.ledger.corrections import Refused, forfeits
from quotas.ledger.holds import Ending, Hold, draws, end_hold, hold_transfer, outliving
from quotas.metering.stop_latency import reserves_s

from .memory_book import Memory


def say(book: Memory, word: Word) -> None:
    """Keep an operator's word."""
    book.words.append(replace(word, id=len(book.words) + 1))


def spoken(book: Memory, state: State) -> bool:
    """Whether anybody said, applied or posted something since a state was read."""
    fresh = islice(reversed(book.posted.values()), len(book.posted) - state.newest_transfer)
    said = max((word.id or 0 for word in state.enforcement.words), default=0)
    moved = any(posted.epoch == 0 for posted in fresh)
    return moved or len(book.words) > said or book.version > state.program_version


def place(book: Memory, startup: str, amount_ucr: int, length_s: int, now_s: int) -> None:
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
        state.owed.get(startup, 0),
    )
    mine = [grant for grant in state.grants if grant.startup == startup]
    lasting = outliving(mine, now_s, now_s + length_s)
    if amount_ucr > min(own.available_ucr, sum(grant.left_ucr for grant in lasting)):
        raise Refused("more than there is")
    id = f"h{len(book.posted) + 1}"
    drawn = draws(lasting, amount_ucr)
    hold = Hold(id, startup, lasting[0].cohort, now_s, now_s + length_s, drawn)
    book.post([hold_transfer(hold, "aside")], now_s, 0, "operator")
    book.holds[id] = hold


def end(book: Memory, id: str, kind: Ending, settled_ucr: int, now_s: int) -> None:
    """Settle a hold, or give it back; what returns to an ended grant is forfeited."""
    hold = book.holds[id]
    if not hold.placed_s <= now_s < hold.expires_s:
        raise Refused("it ran out")
    ended = end_hold(hold, kind, now_s, "done", settled_ucr)
    grants = {grant.account: grant for grant in book.state().grants}
    book.post([ended, *forfeits(ended, grants, now_s)], now_s, 0, "operator")


def answer(book: Memory, id: int, for_s: int, now_s: int) -> None:
    """Move a notice's deadline, or (0 s) know it to be read. Raises Refused."""
    notice = book.notices[id]
    assert book.program is not None
    if for_s:
        moved = snoozed(notice, book.program.policy, for_s, now_s)
    else:
        moved = replace(notice, acknowledged_s=now_s, acknowledged_by="cto")
    book.notices[id] = moved
    if id in book.live:
        book.live[id] = moved
    if book.past.get(moved.subject, moved).id == id and moved.off_s is not None:
        book.past[moved.subject] = moved
