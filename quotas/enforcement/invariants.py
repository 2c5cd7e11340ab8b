"""Invariants: what must be true of a cycle's decisions before anybody acts on them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from quotas.model.program import Mode
from quotas.rules.context import Context
from quotas.state.notices import Intent
from quotas.state.snapshot import Overuse


class InvariantBroken(Exception):
    """The decisions of a cycle contradict what cohortd promises; none of them may be carried out.

    `sentences` names each contradiction. The metering of the cycle stays valid.
    """

    def __init__(self, sentences: Iterable[str]) -> None:
        self.sentences = tuple(sentences)
        super().__init__("; ".join(self.sentences))


def check(context: Context, intents: Iterable[Intent], overuses: Iterable[Overuse]) -> None:
    """Raise InvariantBroken where the cycle's intents, overuses or shares break a promise.

    `intents` are all that the cycle knows, as it leaves them: new ones have no id yet.
    """
    intents = tuple(intents)
    found = [
        *_stops_without_notice(context, intents),
        *_doubled_intents(intents),
        *_earlier_deadlines(context, overuses),
        *_shares_above_capacity(context),
    ]
    if found:
        raise InvariantBroken(found)


def _stops_without_notice(context: Context, intents: Iterable[Intent]) -> Iterator[str]:
    """Every new stop is for a notice of the book whose deadline, as it was told, has passed."""
    known = {notice.id: notice for notice in context.snapshot.notices}
    for intent in intents:
        if intent.action != "poweroff" or intent.id is not None or not intent.is_live:
            continue
        before = known.get(intent.notice_id)
        if before is None or before.server_id != intent.server_id:
            yield f"the stop of {intent.server_id} has no older notice"
        elif context.now_s < before.deadline_s or before.mode is not Mode.ENFORCE:
            yield f"the stop of {intent.server_id} comes before notice {before.id} is due"


def _doubled_intents(intents: Iterable[Intent]) -> Iterator[str]:
    """No server has two live intents."""
    live = Counter(i.server_id for i in intents if i.is_live and i.server_id)
    for server_id, count in live.items():
        if count > 1:
            yield f"{server_id} has {count} live intents"


def _earlier_deadlines(context: Context, overuses: Iterable[Overuse]) -> Iterator[str]:
    """The deadline of an overuse never moves earlier."""
    before = {(e.startup, e.pool, e.since_s): e.deadline_s for e in context.snapshot.overuses}
    for each in overuses:
        if each.deadline_s < before.get((each.startup, each.pool, each.since_s), 0):
            yield f"the overuse of {each.startup} in {each.pool} would be due earlier than told"


def _shares_above_capacity(context: Context) -> Iterator[str]:
    """The shares of a pool are together no more than its GPUs, or than what is nominal."""
    total: dict[str, int] = defaultdict(int)
    nominal: dict[str, int] = defaultdict(int)
    for share in context.shares:
        total[share.pool] += share.share
        nominal[share.pool] += min(share.nominal, share.demand)
    for pool in context.snapshot.program.pools:
        most = max(pool.gpus_at(context.now_s), nominal[pool.name])
        if total[pool.name] > most:
            yield f"the shares of {pool.name} are {total[pool.name]} GPUs, above its {most}"
