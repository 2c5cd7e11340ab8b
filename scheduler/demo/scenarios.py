"""The four scenarios of enforcement in a rehearsal, and the outcome of each.

A borrowed server goes back to its owner, a server in standby is ended, credits run out, and a
mistake is undone. Standby and the end of credits happen by themselves. For the others an
operator acts: it asks for owners' quota, and undoes one stop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from quotas.book import Book
from quotas.book.actions.overrides import undo
from quotas.book.actions.requests import open_request, withdraw_request
from quotas.book.reads.decisions import last_decisions
from quotas.ledger.corrections import Refused
from quotas.messages.catalogue import decision_text
from quotas.model.units import DAY_S, HOUR_S, format_instant
from quotas.state.requests import RequestSpec
from quotas.state.snapshot import Decision
from quotas.view import View

TITLES: Mapping[str, str] = {
    "reclaim": "a borrowed server returned",
    "standby": "a standby leak ended",
    "credits": "an exhaustion announced and executed",
    "undone": "a mistake undone",
}
UNDONE_RULE = "standby"
"""The second stop of this kind is taken back; the first is a story of its own."""
ASKED_FOR_S = 6 * HOUR_S
ASK_AGAIN_S = 2 * DAY_S


@dataclass(frozen=True, slots=True)
class Scenario:
    """One stop from its notice on: when promised, for when, when sent, when back."""

    startup: str
    server: str
    reason: str
    noticed_s: int
    deadline_s: int
    stopped_s: int | None = None
    is_off: bool = False
    undone_s: int | None = None
    back_s: int | None = None


class Scenarios:
    """Follows every stop, keeps the first of each kind that was told to its end."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._open: dict[tuple[str, str, str], Scenario] = {}
        self._asked: list[int] = []
        self._asked_s: int | None = None
        self._mistakes = 0
        self.finished: dict[str, Scenario] = {}

    def follow(self, view: View | None, now_s: int) -> list[str]:
        """Hear of a cycle, and do the operator's part; returns the stories that it ended."""
        if view is None:
            return []
        before = set(self.finished)
        for decision in view.decisions:
            if decision.server_id:
                self._follow_decision(decision, view, now_s)
        if "reclaim" not in self.finished:
            self._request_back(view, now_s)
        return [self._line(name) for name in TITLES if name in self.finished and name not in before]

    def as_json(self) -> dict[str, Any]:
        """For `demo --json`: each story, or null where so short a program had none."""
        return {"scenarios": {name: _plain(self.finished.get(name)) for name in TITLES}}

    def lines(self) -> Iterator[str]:
        """For the summary."""
        yield "stories:"
        yield from (f"  {self._line(name)}" for name in TITLES)

    def _line(self, name: str) -> str:
        scenario, title = self.finished.get(name), TITLES[name]
        if scenario is None or scenario.stopped_s is None:
            return f"{title}: none in this program; give it more days"
        line = (
            f"{title}: {scenario.server} of {scenario.startup}, notice {_at(scenario.noticed_s)}, "
            f"due {_at(scenario.deadline_s)}, stopped {_at(scenario.stopped_s)}"
        )
        if scenario.undone_s is not None and scenario.back_s is not None:
            line += f", undone {_at(scenario.undone_s)}, back {_at(scenario.back_s)}"
        return f"{line}: {scenario.reason}"

    def _follow_decision(self, decision: Decision, view: View, now_s: int) -> None:
        key = (decision.startup, decision.server_id, decision.rule)
        scenario = self._open.get(key)
        if decision.verb == "notify":
            notice = next((n for n in view.status.notices if n.subject == key), None)
            if notice is not None:
                self._open[key] = Scenario(
                    decision.startup,
                    notice.server_name,
                    decision_text(decision),
                    now_s,
                    notice.deadline_s,
                )
        elif scenario is None:
            return
        elif decision.verb == "stop":
            self._open[key] = replace(scenario, stopped_s=now_s)
        elif decision.verb == "executed":
            self._open[key] = replace(scenario, is_off=True)
            self.finished.setdefault(decision.rule, self._open[key])
            if decision.rule == UNDONE_RULE and self.finished[UNDONE_RULE] != self._open[key]:
                self._undo_stop(key, now_s)
            if decision.rule == "reclaim":
                self._withdraw_requests(now_s)
        elif decision.verb == "restarted" and scenario.undone_s is not None:
            self.finished.setdefault("undone", replace(scenario, back_s=now_s))

    def _undo_stop(self, key: tuple[str, str, str], now_s: int) -> None:
        """Undo one stop, as an operator does who hears that the server was wanted."""
        if self._mistakes:
            return
        startup, server_id, rule = key
        (stop,) = last_decisions(
            self._book, 1, startup=startup, server_id=server_id, rule=rule, verb="stop"
        )
        undo(self._book, stop["id"], "demo", "its work was to go on", now_s)
        self._open[key] = replace(self._open[key], undone_s=now_s)
        self._mistakes += 1

    def _request_back(self, view: View, now_s: int) -> None:
        """While somebody borrows, ask for every owner's whole quota: more than is free."""
        if self._asked_s is not None and now_s < self._asked_s + ASK_AGAIN_S:
            return
        lent = {share.pool for share in view.status.shares if share.usage > share.nominal > 0}
        may = {
            startup.name for startup in view.status.startups if startup.level in ("open", "paced")
        }
        self._withdraw_requests(now_s)
        for share in view.status.shares:
            if share.pool not in lent or share.usage >= share.nominal or share.startup not in may:
                continue
            why = "an urgent training run"
            ask = RequestSpec(
                share.startup, share.pool, share.nominal, ASKED_FOR_S, why, "demo", now_s
            )
            try:
                number = open_request(self._book, ask).id
            except Refused:
                continue  # the cohort ends before
            self._asked_s = now_s
            if number is not None:
                self._asked.append(number)

    def _withdraw_requests(self, now_s: int) -> None:
        """Take back what was asked for the story."""
        while self._asked:
            try:
                withdraw_request(self._book, self._asked.pop(), now_s, "the story is told")
            except Refused:
                continue  # it has ended by itself


def _plain(scenario: Scenario | None) -> dict[str, Any] | None:
    if scenario is None:
        return None
    finished: dict[str, Any] = {
        "startup": scenario.startup,
        "server": scenario.server,
        "reason": scenario.reason,
        "notice": _at(scenario.noticed_s),
        "deadline": _at(scenario.deadline_s),
        "stopped": None if scenario.stopped_s is None else _at(scenario.stopped_s),
    }
    if scenario.undone_s is not None:
        finished["undone"] = _at(scenario.undone_s)
        finished["back"] = None if scenario.back_s is None else _at(scenario.back_s)
    return finished


def _at(instant_s: int) -> str:
    return format_instant(instant_s)
