"""Which servers that we stopped are to come back? Those undone, and those asked to resume.

Going back up powers nothing on by itself. An undone stop's server is offered for a day;
a startup with `auto_resume` gets exactly the servers that were stopped for its credits or
by an operator, once that cause has ended and the credits carry them.
"""

from __future__ import annotations

from quotas.decisions.levels import CREDITS, OPERATOR, carry_s, is_exhausted, level
from quotas.decisions.notices import Notice
from quotas.decisions.overrides import UNDONE_FOR_S
from quotas.decisions.sentences import Inputs
from quotas.decisions.snapshot import Snapshot
from quotas.model.observation import Server
from quotas.model.units import DAY_S, HOUR_S

RESUMABLE_RULES = frozenset({CREDITS, OPERATOR})
"""Rules whose end brings servers back: a limit or a leak would only stop them again."""
RESUME_WITHIN_S = 30 * DAY_S
STOPPED_BY_US = frozenset({"executed", "restarting"})


def restarts(snapshot: Snapshot, seen: dict[str, Server]) -> dict[int, Inputs]:
    """The ended notices, by id, whose servers are to be powered on, each with why in figures."""
    found: dict[int, Inputs] = {}
    restart_ucr_per_h: dict[str, int] = {}
    for notice in snapshot.enforcement.past:
        if notice.state not in STOPPED_BY_US or notice.mode != "enforce" or notice.id is None:
            continue
        override = snapshot.overrides.on("undo", notice.server_id)
        undone = override is not None and override.value == str(notice.id)
        if override is not None and undone and snapshot.now_s < override.at_s + UNDONE_FOR_S:
            found[notice.id] = {"by": "undo", **override.inputs}
        elif _resumes(snapshot, notice):
            server = seen.get(notice.server_id)
            rate = snapshot.catalogue.rates_ucr_per_h.get(server.flavor) if server else None
            wanted = restart_ucr_per_h.get(notice.startup, 0) + (rate or 0)
            available_ucr = snapshot.balances[notice.startup].available_ucr
            needed_s = carry_s(snapshot.program.policy)
            if rate is not None and available_ucr * HOUR_S > wanted * needed_s:
                restart_ucr_per_h[notice.startup] = wanted
                found[notice.id] = {
                    "by": "auto_resume",
                    "available_ucr": available_ucr,
                    "rates_ucr_per_h": wanted,
                    "carry_s": needed_s,
                }
    return found


def _resumes(snapshot: Snapshot, notice: Notice) -> bool:
    startup = snapshot.program.startup(notice.startup)
    if startup is None or not startup.auto_resume or notice.rule not in RESUMABLE_RULES:
        return False
    late = snapshot.now_s > (notice.off_s or 0) + RESUME_WITHIN_S
    if late or is_exhausted(snapshot, notice.startup):
        return False
    return level(snapshot, notice.startup)[0] in {"open", "paced"}
