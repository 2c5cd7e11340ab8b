"""Did the daemon do what it may, and no more? I11-I13, I21 and the notices, from outside."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from .books_audit import is_overdraft
from .cloud import Call
from .events import LISTINGS
from .evidence import Evidence, Interval, Row
from .metering_audit import clock_trouble
from .script import NAMES, ZONES
from .spans import both

FRESH_S = 60
NOTICE_S = 1_800
STOP_S = 2 * 30 + 300 + 188
"""T_stop, and the longest that a stop takes."""
TERMINAL = {"confirmed", "failed", "expired", "abandoned"}
SLOW_S = 250
DAY_S = 86_400
HOLDS_BACK = ("freeze", "maintenance", "exempt", "undo")
"""Words for which a stop waits, or is not asked for."""
GOES_ON = ("credits", "cohort-end", "membership", "operator")
"""Rules whose notice is the startup's once, not once for each start."""
UNFORESEEN = ("void", "refund", "correction", "hold", "expiry", "rollover", "repayment", "transfer")
"""Transfers that take credits away at once; what runs in the notice of an expiry is overdrawn."""
HOUR_S = 3_600
LANDS_S = NOTICE_S + 30 + 300
"""What the reserve pays for: the notice, a cycle, and a stop of the policy's latency."""


def conduct(found: Evidence) -> Iterator[str]:
    """Every deed that was not allowed, and every one that was owed and not done."""
    yield from deeds(found)
    yield from _intents(found)
    if found.script.mode == "enforce":
        yield from _stops(found)
        yield from _overspent(found)
        yield from _landings(found)


def deeds(found: Evidence) -> Iterator[str]:
    """Every call and every notice that was wrong when it was made."""
    yield from _calls(found)
    yield from _notices(found)


def _calls(found: Evidence) -> Iterator[str]:
    """I12, I13: each call follows a fresh Complete sweep and a notice that ran out."""
    ours = {t.project_id for _, p in found.programs for s in p.startups() for t in s.projects}
    off = list(clock_trouble(found))
    told: dict[str, list[Row]] = defaultdict(list)
    for notice in found.notices:
        told[notice["server_id"]].append(notice)
    for call in found.calls:
        found.judged.update(("I12", "I13"))
        if found.script.mode != "enforce":
            yield f"I12 {call.server_id} was touched in {found.script.mode} mode"
        if found.projects.get(call.server_id) not in ours:
            yield f"I13 {call.server_id} is not ours"
        sweeps = [s for s in found.swept[call.zone] if s.at_s <= call.at_s]
        last = sweeps[-1]
        if last.outcome != "Complete" or call.at_s - last.at_s > FRESH_S + SLOW_S:
            yield f"I12 {call.server_id} was stopped at {call.at_s} on a {last.outcome} zone"
        if both([(call.at_s, call.at_s + 1)], off):
            continue
        if call.action == "poweron":
            yield from _brought_back(found, call, told[call.server_id])
            continue
        yield from _held_back(found, call)
        if not any(
            n["deadline_s"] <= call.at_s and n["mode"] == "enforce" for n in told[call.server_id]
        ):
            yield f"I12 {call.server_id} was stopped at {call.at_s} without notice"


def _brought_back(found: Evidence, call: Call, told: list[Row]) -> Iterator[str]:
    """I13: what we power on is what we stopped, and somebody asked for it back."""
    undone = any(w.family == "undo" and w.subject == call.server_id for w in found.said)
    names = {
        n["startup"] for n in told if n["state"] in ("executed", "returning", "restored", "over")
    }
    asks = [name for name, does in zip(NAMES, found.script.resumes, strict=False) if does]
    if not names or not (undone or names & set(asks)):
        yield f"I13 {call.server_id} was powered on at {call.at_s}, and nobody asked for it"


def _held_back(found: Evidence, call: Call) -> Iterator[str]:
    """I12: nothing of a startup is stopped while it is frozen, exempt, or in maintenance."""
    program = [p for at_s, p in found.programs if at_s <= call.at_s][-1]
    owner = program.owner(found.projects[call.server_id], call.at_s)
    named = ("*", call.server_id, owner.name if owner else "")
    newest: dict[tuple[str, str], Any] = {}
    for word in found.said:
        if word.at_s <= call.at_s - SLOW_S:
            newest[word.family, word.subject] = word
    for (family, subject), word in newest.items():
        stands = subject in named and word.until_s and word.until_s > call.at_s + SLOW_S
        if stands and family in ("freeze", "maintenance", "exempt"):
            yield f"I12 {call.server_id} was stopped at {call.at_s}, {family} of {subject}"


def _notices(found: Evidence) -> Iterator[str]:
    """A promise leaves at least the minimum notice, unless it goes on with an older one."""
    given: dict[tuple[str, str, str], int] = {}
    for notice in found.notices:
        if not notice["server_id"]:
            continue
        subject = (notice["startup"], notice["server_id"], notice["rule"])
        left_s = notice["deadline_s"] - notice["given_s"]
        found.judged["notices"] += subject not in given
        if subject not in given and left_s < NOTICE_S:
            yield f"notice {notice['id']} of {notice['server_name']} leaves only {left_s} s"
        given[subject] = notice["id"]
    yield from _go_on(found)


def _go_on(found: Evidence) -> Iterator[str]:
    """A server that is started again under the same cause has no notice of its own."""
    past: dict[tuple[str, str, str], Row] = {}
    for notice in found.notices:
        before = past.get((notice["startup"], notice["server_id"], notice["rule"]))
        same = before and before["cause"] == notice["cause"] and before["mode"] == notice["mode"]
        known = before is not None and before["off_s"] <= notice["given_s"]
        if same and known and notice["rule"] in GOES_ON and before["state"] != "restored":
            yield f"notice {notice['id']} of {notice['server_name']} begins anew"
        if notice["off_s"] is not None:
            past[notice["startup"], notice["server_id"], notice["rule"]] = notice


def _intents(found: Evidence) -> Iterator[str]:
    """I21: each intent is terminal, each call has one, and confirmed means that it was off."""
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


def _stops(found: Evidence) -> Iterator[str]:
    """I11: a server whose notice ran out is off within T_stop, faults apart."""
    excuses = troubled(found)
    held = {n["id"] for n in found.notices if n["state"] == "held"}
    held |= {d["server_id"] for d in found.decisions if d["verb"] == "hold"}
    for notice in found.notices:
        server, deadline_s = notice["server_id"], notice["deadline_s"]
        if not server or notice["state"] in ("cancelled", "shadow") or server in held:
            continue
        for start_s, end_s in found.truth[server]:
            if not start_s < deadline_s <= end_s:
                continue  # it did not run when its notice ran out
            names = (server, f"startup:{notice['startup']}")
            # What is lent is taken back only while every zone of the pool is known.
            names += ZONES if notice["rule"] == "borrowed" else ()
            if _is_excused(found, names, deadline_s, end_s, excuses):
                continue
            found.judged["I11"] += 1
            if end_s > deadline_s + STOP_S:
                yield f"I11 {server} was to stop at {deadline_s}, ran to {end_s}"


def _is_excused(
    found: Evidence,
    names: tuple[str, ...],
    due_s: int,
    until_s: int,
    excuses: dict[str, list[Interval]],
) -> bool:
    """Whether some trouble touched the time in which the server should have been stopped."""
    server = names[0]
    zone = next(found.kinds[server, s][0] for s, _ in found.truth[server])
    within = [(due_s - FRESH_S, min(due_s + STOP_S, until_s))]
    own = [span for name in (zone, "", *names) for span in excuses[name]]
    return bool(both(within, own))


def troubled(found: Evidence) -> dict[str, list[Interval]]:
    """Stretches of trouble by zone, by server, and ("") of everything."""
    troubles: dict[str, list[Interval]] = defaultdict(list)
    for window in (w for w in found.script.windows if w.kind not in LISTINGS):
        troubles[window.zone].append((window.from_s - STOP_S, window.until_s + STOP_S))
    troubles[""] += clock_trouble(found)
    if found.script.dice:
        troubles[""] += [(at_s - STOP_S, at_s + 2 * STOP_S) for at_s in found.befell]
    for intent in found.intents:
        if intent["state"] == "failed" and intent["server_id"]:
            troubles[intent["server_id"]].append((intent["decided_s"], found.now_s))
    for word in found.said:
        if word.family in HOLDS_BACK:
            until_s = word.until_s if word.until_s is not None else word.at_s + DAY_S
            whose = f"startup:{word.subject}" if word.subject in NAMES else word.subject
            span = (word.at_s - STOP_S, until_s + NOTICE_S + STOP_S)
            troubles["" if word.subject == "*" else whose].append(span)
    for event in found.script.events:
        if event.verb == "lock":
            back_s = next(
                e.at_s
                for e in (*found.script.events, event)
                if e.verb == "unlock" and e.args == event.args and e.at_s >= event.at_s
            )
            troubles[""].append((event.at_s - STOP_S, back_s + STOP_S))
    return troubles


def _overspent(found: Evidence) -> Iterator[str]:
    """Promise 4: once credits are seen to be gone, servers run no longer than their notice."""
    excuses = troubled(found)
    gone: dict[str, list[int]] = defaultdict(list)
    last: dict[tuple[str, int], tuple[int, bool]] = {}
    for row in found.transfers:
        if row["kind"] == "charge":
            over = any(is_overdraft(a) for a, ucr in row["entries"] if ucr < 0)
            key = (row["startup"], row["recorded_s"])
            last[key] = max(last.get(key, (0, True)), (row["detail"]["end_s"], over))
    for (startup, recorded_s), (_, over) in last.items():
        if over:
            gone[startup].append(recorded_s)
    granted = defaultdict(list)
    for row in found.transfers:
        if row["kind"] == "grant":
            granted[row["startup"]].append(max(row["at_s"], row["recorded_s"]))
    held = {d["server_id"] for d in found.decisions if d["verb"] == "hold"}
    left = {n.name for _, p in found.programs for n in p.startups()} - {
        s.name for s in found.programs[-1][1].startups()
    }
    for run in found.runs:
        seen = [s for s in gone[run["startup"]] if s > run["start_s"]]
        if not seen or run["server_id"] in held or run["startup"] in left:
            continue
        due_s = seen[0] + NOTICE_S
        end_s = run["end_s"] if run["end_s"] is not None else found.now_s
        relieved = any(seen[0] - 1 <= at_s <= due_s + STOP_S for at_s in granted[run["startup"]])
        if end_s < due_s or relieved or due_s > found.script.end_s:
            continue
        around = [(seen[0] - FRESH_S, due_s + STOP_S)]
        names = (run["zone"], "", run["server_id"], f"startup:{run['startup']}")
        own = [span for name in names for span in excuses[name]]
        if both(around, own):
            continue
        found.judged["P4"] += 1
        if end_s > due_s + STOP_S + FRESH_S:
            yield (
                f"P4 {run['server_id']} of {run['startup']} ran to {end_s} on an overdraft "
                f"posted at {seen[0]}"
            )


def _landings(found: Evidence) -> Iterator[str]:
    """Promise 4: where burn was known and did not rise, credits pay for all of the notice."""
    excuses = troubled(found)
    clean = sorted(s.asked_s for zone in found.swept for s in found.complete[zone])
    moved: dict[str, list[int]] = defaultdict(list)
    for row in found.transfers:
        if row["kind"] in UNFORESEEN:
            moved[row["startup"]] += [row["at_s"], row["recorded_s"]]
    held = {d["startup"] for d in found.decisions if d["verb"] == "hold"}
    starts: dict[str, list[int]] = defaultdict(list)
    zones: dict[str, set[str]] = defaultdict(set)
    members = {s.name for s in found.programs[-1][1].startups()}
    for run in found.runs:
        starts[run["startup"]].append(run["start_s"])
        zones[run["startup"]].add(run["zone"])
    for row in found.transfers:
        over = [a for a, ucr in row["entries"] if is_overdraft(a) and ucr < 0]
        if row["kind"] != "charge" or not over or row["startup"] not in members - held:
            continue
        over_s = row["detail"]["end_s"]
        if over_s > found.script.end_s:
            continue  # the cohort's end has a notice of its own, which falls due at that instant
        look_s = next((s for s in reversed(clean) if s <= over_s - LANDS_S - FRESH_S), 0)
        rose = any(look_s - HOUR_S <= s <= over_s for s in starts[row["startup"]])
        shakes = (*moved[row["startup"]], *(at_s for at_s, _ in found.programs))
        shaken = any(look_s - HOUR_S <= at_s <= row["recorded_s"] for at_s in shakes)
        detail = row["detail"]
        names = (*zones[row["startup"]], "", detail["server"], f"startup:{row['startup']}")
        own = [span for name in names for span in excuses[name]]
        # Blind until it was recorded, the daemon let others use the same credits up.
        if not rose and not shaken and not both(own, [(look_s - HOUR_S, row["recorded_s"])]):
            yield (
                f"P4 {row['startup']} is overdrawn at {over_s}, though its burn was known "
                f"at {look_s}"
            )


def after_the_end(found: Evidence) -> Iterator[str]:
    """After the cohort's end nothing of ours runs longer than a notice and a stop take."""
    held = {d["server_id"] for d in found.decisions if d["verb"] == "hold"}
    for server, spans in found.truth.items():
        # Started after its startup had left, it is nobody's of ours: it may not be touched.
        owned = found.owned(server)
        ours = [(a, b) for a, b in spans if any(start <= a < end for start, end in owned)]
        if server in held or not ours:
            continue
        since_s = _seen_after_the_end(found, server) + NOTICE_S + STOP_S
        found.judged["I11"] += any(end_s > found.script.end_s for _, end_s in ours)
        if any(end_s > since_s and start_s < found.script.end_s for start_s, end_s in ours):
            yield f"I11 {server} runs on after the end of its cohort"


def _seen_after_the_end(found: Evidence, server: str) -> int:
    """The cohort's end; if the server's zone was out then, when it first answered after that."""
    end_s = found.script.end_s
    zone = next(found.kinds[server, start_s][0] for start_s, _ in found.truth[server])
    outages = [w for w in found.script.windows if w.kind == "outage" and w.zone == zone]
    if not any(w.from_s <= end_s < w.until_s for w in outages):
        return end_s
    return next((s.at_s for s in found.complete[zone] if s.at_s >= end_s), found.now_s)
