"""I12, I13, I21 and the notices: the daemon makes only calls that are allowed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from ..play.cloud import Call
from ..scenario.script import NAMES
from .evidence import Evidence, Row
from .intervals import both
from .metering import SLOW_S, clock_trouble

FRESH_S = 60
NOTICE_S = 1_800
STOP_S = 2 * 30 + 300 + 188
"""T_stop, and the longest that a stop takes."""
TERMINAL = {"confirmed", "failed", "expired", "abandoned"}
NOTICE_SURVIVES_RESTART = ("credits", "cohort-end", "membership", "operator")
"""Rules whose notice is the startup's once, not once for each start."""
SUBJECT = ("startup", "server_id", "rule", "episode")


def conduct(found: Evidence) -> Iterator[str]:
    """Every call that was not allowed, and every intent that has no end."""
    yield from calls(found)
    yield from _intents(found)


def calls(found: Evidence) -> Iterator[str]:
    """Every call and every notice that was wrong when it was made."""
    yield from _calls(found)
    yield from _reclaims(found)
    yield from _notices(found)


def _calls(found: Evidence) -> Iterator[str]:
    """I12, I13: each call follows a fresh Complete sweep and a notice that ran out."""
    ours = {t.project_id for _, p in found.programs for s in p.startups() for t in s.projects}
    off = list(clock_trouble(found))
    given: dict[str, list[Row]] = defaultdict(list)
    for notice in found.notices:
        given[notice["server_id"]].append(notice)
    for call in found.calls:
        found.judged.update(("I12", "I13"))
        if found.script.mode != "enforce":
            yield f"I12 {call.server_id} was touched in {found.script.mode} mode"
        if found.projects.get(call.server_id) not in ours:
            yield f"I13 {call.server_id} is not ours"
        sweeps = [s for s in found.swept[call.zone] if s.at_s <= call.at_s]
        last = sweeps[-1]
        if last.outcome != "Complete":
            yield f"I12 {call.server_id} was stopped at {call.at_s} on a {last.outcome} zone"
        is_slow = any(last.at_s <= at_s <= call.at_s for at_s in found.incidents)
        if call.at_s - last.at_s > FRESH_S + SLOW_S * is_slow:
            yield f"I12 {call.server_id} was stopped at {call.at_s} on a sweep of {last.at_s}"
        if both([(call.at_s, call.at_s + 1)], off):
            continue
        if call.action == "poweron":
            yield from _brought_back(found, call, given[call.server_id])
            continue
        yield from _held_back(found, call)
        mine = [n for n in given[call.server_id] if n["mode"] == "enforce"]
        if not any(_stood_s(found, n, call.at_s) <= call.at_s for n in mine):
            yield f"I12 {call.server_id} was stopped at {call.at_s} without notice"


def _stood_s(found: Evidence, notice: Row, at_s: int) -> Any:
    """The deadline of a notice at an instant; a deferred one had its minimum again."""
    if notice["deadline_s"] <= at_s:
        return notice["deadline_s"]
    of = [notice[name] for name in SUBJECT]
    later = (d for d in found.decisions if d["verb"] == "extend" and d["at_s"] > at_s)
    was = (d["inputs"]["was_due_s"] for d in later if [d[name] for name in SUBJECT] == of)
    return min([notice["deadline_s"], *(was_s for was_s in was if was_s >= notice["opened_s"])])


def _reclaims(found: Evidence) -> Iterator[str]:
    """I12: lent GPUs are taken back only while every zone of the pool is known.

    Every zone was known at the decision, and still was at the last sweep before the call.
    """
    lent = {n["id"]: n for n in found.notices if n["rule"] == "reclaim"}
    stops = [i for i in found.intents if i["action"] == "poweroff"]
    for intent in (i for i in stops if i["notice_id"] in lent):
        for zone in _pool_zones(found, lent[intent["notice_id"]], intent["decided_s"]):
            seen = {s.outcome for s in found.swept[zone] if s.cycle_s == intent["decided_s"]}
            if "Complete" not in seen:
                when = f"decided at {intent['decided_s']}, and {zone} was {min(seen, default='')}"
                yield f"I12 a reclaim of {intent['server_id']} was {when}"
    off = list(clock_trouble(found))
    for call in found.calls if lent else ():
        own = [i for i in stops if i["server_id"] == call.server_id]
        before = [i for i in own if i["decided_s"] <= call.at_s]
        last = max(before, key=lambda i: i["decided_s"], default=None)
        if last is None or last["notice_id"] not in lent or both([(call.at_s, call.at_s + 1)], off):
            continue
        for zone in _pool_zones(found, lent[last["notice_id"]], call.at_s):
            outcome = [s.outcome for s in found.swept[zone] if s.at_s <= call.at_s][-1]
            if call.action == "poweroff" and outcome != "Complete":
                when = f"at {call.at_s}, and {zone} was {outcome}"
                yield f"I12 {call.server_id} was stopped for an owner {when}"


def _pool_zones(found: Evidence, notice: Row, at_s: int) -> list[str]:
    """The zones in which the pool of a reclaim may have servers, by the program at that time."""
    name = notice["episode"].split(":")[1]
    program = [p for from_s, p in found.programs if from_s <= at_s or p is found.programs[0][1]][-1]
    pool = next(each for each in program.pools if each.name == name)
    return sorted({flavor.partition("@")[2] for flavor in pool.flavors})


def _brought_back(found: Evidence, call: Call, given: list[Row]) -> Iterator[str]:
    """I13: cohortd powers on only servers that it stopped and that somebody asked for."""
    undone = any(w.family == "undo" and w.subject == call.server_id for w in found.overrides)
    names = {
        n["startup"]
        for n in given
        if n["state"] in ("executed", "restarting", "restarted", "finished")
    }
    asks = [name for name, does in zip(NAMES, found.script.resumes, strict=False) if does]
    if not names or not (undone or names & set(asks)):
        yield f"I13 {call.server_id} was powered on at {call.at_s}, and nobody asked for it"


def _held_back(found: Evidence, call: Call) -> Iterator[str]:
    """I12: nothing of a startup is stopped while it is frozen, exempt or in maintenance."""
    program = [p for at_s, p in found.programs if at_s <= call.at_s][-1]
    owner = program.owner(found.projects[call.server_id], call.at_s)
    named = ("*", call.server_id, owner.name if owner else "")
    newest: dict[tuple[str, str], Any] = {}
    for override in found.overrides:
        if override.at_s <= call.at_s - SLOW_S:
            newest[override.family, override.subject] = override
    for (family, subject), override in newest.items():
        stands = subject in named and override.until_s and override.until_s > call.at_s + SLOW_S
        if stands and family in ("freeze", "maintenance", "exempt"):
            yield f"I12 {call.server_id} was stopped at {call.at_s}, {family} of {subject}"


def _notices(found: Evidence) -> Iterator[str]:
    """Every notice leaves at least the minimum, unless it continues an older one."""
    given: dict[tuple[str, str, str], int] = {}
    for notice in found.notices:
        if not notice["server_id"]:
            continue
        subject = (notice["startup"], notice["server_id"], notice["rule"])
        left_s = notice["deadline_s"] - notice["opened_s"]
        found.judged["notices"] += subject not in given
        if subject not in given and left_s < NOTICE_S:
            yield f"notice {notice['id']} of {notice['server_name']} leaves only {left_s} s"
        if notice["is_breached"]:
            yield f"notice {notice['id']} of {notice['server_name']} counts as broken"
        given[subject] = notice["id"]
    yield from _go_on(found)


def _go_on(found: Evidence) -> Iterator[str]:
    """A server that is started again in the same episode gets no second notice, unless it was free.

    A server was free if an earlier cycle saw it running with no notice. Its next notice is whole.
    """
    written_s = _announced_s(found)
    off = list(clock_trouble(found))
    past: dict[tuple[str, str, str], Row] = {}
    for notice in found.notices:
        before = past.get((notice["startup"], notice["server_id"], notice["rule"]))
        same = (
            before and before["episode"] == notice["episode"] and before["mode"] == notice["mode"]
        )
        if (
            before
            and same
            and notice["rule"] in NOTICE_SURVIVES_RESTART
            and before["state"] != "restarted"
        ):
            is_new = before["off_s"] <= notice["opened_s"]
            # Beside a start or a stop a sweep may have shown either: the doubt is the daemon's.
            sure_s = 0 if is_new else FRESH_S
            free_s = _ran_free_s(found, before, written_s[notice["id"]], sure_s)
            if is_new and free_s is None:
                yield f"notice {notice['id']} of {notice['server_name']} begins anew"
            elif not is_new and free_s is not None and not both([(free_s, free_s + 1)], off):
                yield f"notice {notice['id']} goes on, though its server was free at {free_s}"
        if notice["off_s"] is not None:
            past[notice["startup"], notice["server_id"], notice["rule"]] = notice


def _announced_s(found: Evidence) -> dict[int, int]:
    """When each notice of a server was written, whatever instant the notice names."""
    at: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for each in found.decisions:
        if each["verb"] == "notify":
            at[each["startup"], each["server_id"], each["rule"]].append(each["at_s"])
    return {
        notice["id"]: at[notice["startup"], notice["server_id"], notice["rule"]].pop(0)
        for notice in found.notices
        if notice["server_id"]
    }


def _ran_free_s(found: Evidence, before: Row, announced_s: int, sure_s: int) -> int | None:
    """When a server was first seen running after it was off, in a cycle before a notice."""
    spans = found.truth[before["server_id"]]
    for sweep in found.complete[before["zone"]]:
        around = (sweep.asked_s - sure_s, sweep.at_s + sure_s)
        if sweep.is_stale or not before["off_s"] < sweep.cycle_s < announced_s:
            continue
        if any(start_s <= around[0] and around[1] <= end_s for start_s, end_s in spans):
            return sweep.asked_s
    return None


def _intents(found: Evidence) -> Iterator[str]:
    """I21: each intent ends, each call has an intent, and a confirmed server was off."""
    by_server: dict[str, list[Row]] = defaultdict(list)
    for intent in found.intents:
        by_server[intent["server_id"]].append(intent)
        found.judged["I21"] += 1
        if intent["state"] not in TERMINAL or intent["ended_s"] is None:
            yield f"I21 intent {intent['id']} is {intent['state']} at the end"
    troubled = list(clock_trouble(found))
    for call in found.calls:
        own = by_server[call.server_id]
        in_time = any(i["decided_s"] <= call.at_s <= i["not_after_s"] + SLOW_S for i in own)
        if both([(call.at_s, call.at_s + 1)], troubled):
            continue
        found.judged["I21"] += 1
        if not in_time:
            yield f"I21 the call for {call.server_id} at {call.at_s} has no intent"
