"""Closing: which startups lose the permission to start servers, and which get it back.

Theory of operation
-------------------
Closing is prevention: Scaleway itself refuses what the rules would stop anyway. It takes start
and create from the IAM rules of a startup's projects, and gives them back later. This module
decides; `scheduler.act.access` reads and writes the policies.

The model. Each startup has a history of closing intents, newest first. The wanted direction
follows from its restriction: close while its level forbids starts, else reopen. An intent is due
where the direction changed, where the last one failed and its pause is over, or where a closed
startup was not looked at for an hour, because somebody may have edited its rules meanwhile.

Invariants:

- A startup has at most one live closing intent; a newer one abandons the older one.
- Revoked rules are recorded before they are taken, so that a crash loses none.
- A project that passes to another startup takes its revoked rules along: the new owner gets
  them back, although it was never closed itself (`assign_to_successors`).
- A startup that left the program stays as it is until `release-all`.

Where IAM says nothing (mode shadow, no key, a startup without policies of its own), the startup
is told instead: `announce_closings` announces each closing once, named by its rule and that
rule's key fact, and the permission once all of them are over.

Rejected alternatives. Deleting the startup's keys would also stop its storage and its cleanup.
One intent for each policy would make the state of a startup a set of states; reading all of its
policies in each attempt makes every attempt repeatable from any crash.

Warning. What was told in shadow mode no startup has heard: closings announced in shadow count in
shadow only (`closed_by`). And an intent confirmed is what we wrote, not what holds now: the
hourly look and the bypass check see what people changed since.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from quotas.decisions.record import Closing, make_decision
from quotas.iam.narrowing import successor_of
from quotas.model.program import Mode, Program
from quotas.rules.context import Restriction
from quotas.rules.registry import restricts
from quotas.state.facts import TypedMessage
from quotas.state.notices import (
    FAILED,
    SEND_WITHIN_S,
    Intent,
    IntentCode,
    IntentResult,
    IntentState,
    Notice,
    NoticeState,
)
from quotas.state.snapshot import Decision

CLOSE, REOPEN, RELEASE = "close", "reopen", "release"
INHERIT = "inherit"
ACTIONS = (CLOSE, REOPEN)
RULE = "closing"
FIRST_PAUSE_S, LAST_PAUSE_S = 60, 900
RECHECK_AFTER_S = 3600
"""How often the rules of a closed startup are read again: somebody may have edited them."""


@dataclass(frozen=True, slots=True)
class Closings:
    """What changes: the intents to write, the decisions, and their announcements."""

    intents: tuple[Intent, ...]
    decisions: tuple[Decision, ...]
    notices: tuple[Notice, ...]


@dataclass(frozen=True, slots=True)
class ClosingHistory:
    """The newest closing intents of one startup, newest first, and whether rules are revoked.

    `project_sets` are the projects of each record of revoked rules.
    """

    intents: tuple[Intent, ...] = ()
    has_revoked_rules: bool = False
    project_sets: tuple[frozenset[str], ...] = ()

    @property
    def last(self) -> Intent | None:
        """The newest of them."""
        return self.intents[0] if self.intents else None

    @property
    def failures(self) -> int:
        """How many failed in a row, in the newest direction; one under way is not counted."""
        count = 0
        for intent in self.intents:
            if intent.is_live and not count:
                continue
            if intent.state not in FAILED or intent.action != self.intents[0].action:
                break
            count += 1
        return count


def decide_closings(
    restrictions: Mapping[str, Restriction],
    past: Mapping[str, ClosingHistory],
    members: Collection[str],
    now_s: int,
) -> Closings:
    """Decide for every startup from its restriction; `members` are those of the program."""
    intents: list[Intent] = []
    decisions: list[Decision] = []
    for startup in sorted(set(restrictions) & set(members)):
        own = past.get(startup, ClosingHistory())
        found = restrictions[startup]
        wanted = CLOSE if found.level.forbids_starts else REOPEN
        if not _is_due(wanted, own, now_s):
            continue
        last = own.last
        if last is not None and last.is_live:
            code = IntentCode(f"{wanted}-instead")
            intents.append(last.ended(IntentState.ABANDONED, code, now_s))
        of = (None, "", "", "open" if wanted == CLOSE else "closed", now_s, now_s + SEND_WITHIN_S)
        intents.append(Intent(*of, action=wanted, startup=startup))
        if last is None or last.action != wanted:
            # What was never closed itself has the rules of a project that passed to it.
            action = INHERIT if last is None and wanted == REOPEN else wanted
            episode = f"{wanted}:{found.rule}:{now_s}"
            decisions.append(_decision(startup, action, wanted, episode, found))
    return _closings(intents, decisions, Mode.ENFORCE, now_s)


FORBID, PERMIT = "forbid", "permit"
_AND = "+"


def announce_closings(
    restrictions: Mapping[str, Restriction],
    closed: Mapping[tuple[str, str], frozenset[str]],
    members: Collection[str],
    mode: Mode,
    now_s: int,
) -> Closings:
    """Announce which startups may start nothing from now on, or may again, where IAM does nothing.

    `closed` is what was announced to each (startup, mode) before (see `closed_by`).
    """
    decisions: list[Decision] = []
    for startup in sorted(set(restrictions) & set(members)):
        own = restrictions[startup]
        was = closed.get((startup, mode), frozenset())
        if own.level.forbids_starts:
            # The key names one closing: it is announced once, until the startup is open again.
            fact = restricts(own.rule).key
            key = f"{own.rule}:{getattr(own.facts, fact) if fact else 0}"
            action, episode = FORBID, "" if key in was else f"{FORBID}:{key}"
        else:
            action, episode = PERMIT, f"{PERMIT}:{_AND.join(sorted(was))}" if was else ""
        if episode:
            decisions.append(_decision(startup, action, "announce", episode, own))
    return _closings((), decisions, mode, now_s)


def _decision(startup: str, action: str, verb: str, episode: str, own: Restriction) -> Decision:
    facts = Closing(startup=startup, action=action, by=own.rule, restriction=own.facts)
    return make_decision((startup, ""), RULE, verb, episode, facts)


def _closings(
    intents: Iterable[Intent], decisions: Iterable[Decision], mode: Mode, now_s: int
) -> Closings:
    """The intents and decisions, with the announcement of each decision."""
    of, when = ("", "", "", RULE), (mode, now_s, now_s)
    notices = (
        Notice(d.startup, *of, d.episode, *when, d.inputs, NoticeState.ANNOUNCED) for d in decisions
    )
    return Closings(tuple(intents), tuple(decisions), tuple(notices))


def closed_by(
    announcements: Iterable[tuple[str, str, str]],
) -> dict[tuple[str, str], frozenset[str]]:
    """The closings that were announced to each (startup, mode) and that still count.

    `announcements` are (startup, mode, episode) under this rule, the oldest first. Announcements
    of shadow mode reach no startup, so they count in shadow mode only.
    """
    found: dict[tuple[str, str], frozenset[str]] = {}
    for startup, mode, episode in announcements:
        verb, _, key = episode.partition(":")
        before = found.pop((startup, mode), frozenset())
        if verb == CLOSE:  # told on a change of direction only: it was open before
            found[startup, mode] = frozenset({key})
        elif verb == FORBID:
            found[startup, mode] = before | {key}
    return found


def _is_due(wanted: str, own: ClosingHistory, now_s: int) -> bool:
    """Whether an intent in this direction is wanted now."""
    last = own.last
    if last is None or last.action != wanted:
        # Nothing to give back to a startup that nothing was ever taken from.
        return wanted == CLOSE or (last is not None or own.has_revoked_rules)
    if last.is_live:
        return False
    ended_s = last.ended_s or last.decided_s
    if last.state in FAILED:
        pause_s = min(FIRST_PAUSE_S << min(own.failures - 1, 8), LAST_PAUSE_S)
        return now_s >= ended_s + pause_s
    if wanted == CLOSE:
        return now_s >= ended_s + RECHECK_AFTER_S
    return own.has_revoked_rules


def closing_histories(
    intents: Iterable[Intent], revoked: Mapping[str, Collection[frozenset[str]]]
) -> dict[str, ClosingHistory]:
    """What is known of each startup, from its closing intents in the order they were decided."""
    found: dict[str, list[Intent]] = {name: [] for name in revoked}
    for intent in intents:
        found.setdefault(intent.startup, []).insert(0, intent)
    return {
        name: ClosingHistory(tuple(own), name in revoked, tuple(revoked.get(name, ())))
        for name, own in found.items()
    }


def assign_to_successors(
    past: Mapping[str, ClosingHistory], projects: Mapping[str, Collection[str]]
) -> dict[str, ClosingHistory]:
    """The same past, with revoked rules counted for the present owner of their projects."""
    successors = {
        successor_of(name, project_sets, projects)
        for name, own in past.items()
        for project_sets in own.project_sets
    }
    return {
        name: replace(past.get(name, ClosingHistory()), has_revoked_rules=name in successors)
        for name in past.keys() | successors
    }


def with_ended_intents(
    past: Mapping[str, ClosingHistory], changed: Iterable[Intent]
) -> dict[str, ClosingHistory]:
    """The same past, with the intents that this cycle's observation ended."""
    ended = {intent.id: intent for intent in changed}
    return {
        name: replace(own, intents=tuple(ended.get(each.id, each) for each in own.intents))
        for name, own in past.items()
    }


def projects_at(program: Program, now_s: int) -> dict[str, tuple[str, ...]]:
    """The projects that each startup owns at an instant."""
    return {
        startup.name: tuple(each.project_id for each in startup.projects if each.holds_at(now_s))
        for startup in program.startups()
    }


@dataclass(frozen=True, slots=True)
class ClosingView:
    """Where the closing of a startup stands: for status, metrics and alarms."""

    startup: str
    state: str
    since_s: int
    result: IntentResult | None
    failures: int
    has_revoked_rules: bool


_STATES = {
    (CLOSE, IntentState.CONFIRMED): "closed",
    (REOPEN, IntentState.CONFIRMED): "open",
    (CLOSE, IntentState.ABANDONED): "open",
    (REOPEN, IntentState.ABANDONED): "closed",
}


def closing_views(
    past: Mapping[str, ClosingHistory], attempting: Collection[str] | None = None
) -> tuple[ClosingView, ...]:
    """Every startup that was closed or reopened by IAM at least once, by name.

    Failures count only for the startups in `attempting`; None means for all.
    """
    found = []
    for name, own in sorted(past.items()):
        last = own.last
        if last is None:
            continue
        under_way = "closing" if last.action == CLOSE else "reopening"
        state = _STATES.get((last.action, last.state), under_way)
        since_s = last.ended_s or last.decided_s
        result = next((each.result for each in own.intents if each.result), None)
        failures = own.failures if attempting is None or name in attempting else 0
        found.append(ClosingView(name, state, since_s, result, failures, own.has_revoked_rules))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class StillRevoked:
    """A startup whose rules stay revoked. In mode enforce the key for IAM is missing."""

    startup: str
    mode: Mode


def closing_alarms(
    views: Iterable[ClosingView], *, has_key: bool, mode: Mode
) -> list[TypedMessage]:
    """What an operator has to know: failures that last, and rules that nobody will give back."""
    found = []
    for view in views:
        if view.failures:
            found.append(TypedMessage("closing.failing", view))
        if view.has_revoked_rules and (mode is not Mode.ENFORCE or not has_key):
            found.append(TypedMessage("closing.revoked", StillRevoked(view.startup, mode)))
    return found
