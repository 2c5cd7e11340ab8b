"""Restart: the servers that we stopped and that are to be powered on again.

A level that opens again powers nothing on by itself. The server of an undone stop is offered
for a day. A startup with `auto_resume` gets the servers back that a resumable rule stopped,
once that rule no longer applies and the credits carry them.
"""

from __future__ import annotations

from quotas.decisions.verbs import Restart
from quotas.model.observation import Server
from quotas.model.program import Mode
from quotas.model.units import DAY_S, HOUR_S
from quotas.rules.context import Context
from quotas.rules.credits import carry_s, is_exhausted
from quotas.rules.registry import STOP_BY_NAME
from quotas.state.notices import Notice, NoticeState
from quotas.state.overrides import UNDONE_FOR_S

RESUME_WITHIN_S = 30 * DAY_S
STOPPED_BY_US = frozenset({NoticeState.EXECUTED, NoticeState.RESTARTING})


def restarts(context: Context, seen: dict[str, Server]) -> dict[int, Restart]:
    """The ended notices, by id, whose servers are to be powered on, each with the reason."""
    snapshot = context.snapshot
    found: dict[int, Restart] = {}
    restart_ucr_per_h: dict[str, int] = {}
    for notice in snapshot.enforcement.past:
        is_ours = notice.state in STOPPED_BY_US and notice.mode is Mode.ENFORCE
        if not is_ours or notice.id is None:
            continue
        override = snapshot.overrides.on("undo", notice.server_id)
        undone = override is not None and override.value == str(notice.id)
        if override is not None and undone and snapshot.now_s < override.at_s + UNDONE_FOR_S:
            found[notice.id] = Restart.of(
                notice, server=notice.server_name, by="undo", override=override.facts
            )
        elif _resumes(context, notice):
            server = seen.get(notice.server_id)
            rate = snapshot.catalogue.rates_ucr_per_h.get(server.flavor) if server else None
            wanted = restart_ucr_per_h.get(notice.startup, 0) + (rate or 0)
            available_ucr = snapshot.balances[notice.startup].available_ucr
            needed_s = carry_s(snapshot.program.policy)
            if rate is not None and available_ucr * HOUR_S > wanted * needed_s:
                restart_ucr_per_h[notice.startup] = wanted
                sums = {"available_ucr": available_ucr, "rates_ucr_per_h": wanted}
                found[notice.id] = Restart.of(
                    notice, server=notice.server_name, by="auto_resume", carry_s=needed_s, **sums
                )
    return found


def _resumes(context: Context, notice: Notice) -> bool:
    startup = context.snapshot.program.startup(notice.startup)
    if startup is None or not startup.auto_resume or not STOP_BY_NAME[notice.rule].resumable:
        return False
    late = context.now_s > (notice.off_s or 0) + RESUME_WITHIN_S
    if late or is_exhausted(context, notice.startup):
        return False
    return notice.startup not in context.blocked
