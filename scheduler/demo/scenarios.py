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
from quotas.model.units import DAY_S, HOUR_S
from quotas.state.requests import RequestSpec
from quotas.state.snapshot import Decision
from quotas.view import View
from scheduler.demo.lending import names_that_may_request
from scheduler.views.json_fields import json_fields

TITLES: Mapping[str, str] = {
    "reclaim": "a borrowed server returned",
    "standby": "a server in standby powered off",
    "credits": "an exhaustion announced and executed",
    "undone": "a mistake undone",
}
UNDONE_RULE = "standby"
"""The operator undoes the second stop of this rule; the first is a scenario of its own."""
ASKED_FOR_S = 6 * HOUR_S
ASK_AGAIN_S = 2 * DAY_S


@dataclass(frozen=True, slots=True)
class Scenario:
    """One stop: its notice, its deadline, when it was sent, and when the server was back."""

    startup: str
    server: str
    reason: str
    noticed_s: int
    deadline_s: int
    stopped_s: int | None = None
    undone_s: int | None = None
    back_s: int | None = None


class Scenarios:
    """Follows every stop, and keeps the first of each kind that came to its end."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._open: dict[tuple[str, str, str], Scenario] = {}
        self._asked: list[int] = []
        self._asked_s: int | None = None
        self._has_undone = False
        self.finished: dict[str, Scenario] = {}

    def follow(self, view: View | None, now_s: int) -> list[str]:
        """Follow one cycle and act as the operator. Returns the scenarios that it ended."""
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
        """For `demo --json`: each scenario, or null where so short a program had none."""
        ended = {name: _plain(scenario) for name, scenario in self.finished.items()}
        return {"scenarios": {name: ended.get(name) for name in TITLES}}

    def lines(self) -> Iterator[str]:
        """For the summary."""
        yield "scenarios:"
        yield from (f"  {self._line(name)}" for name in TITLES)

    def _line(self, name: str) -> str:
        scenario, title = self.finished.get(name), TITLES[name]
        if scenario is None or scenario.stopped_s is None:
            return f"{title}: none in this program; give it more days"
        shown = _plain(scenario)
        names = ["notice", "deadline", "stopped"]
        if scenario.back_s is not None:
            names += ["undone", "back"]
        steps = ", ".join(f"{name} {shown[name]}" for name in names)
        return f"{title}: {scenario.server} of {scenario.startup}, {steps}: {scenario.reason}"

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
            first = self.finished.setdefault(decision.rule, scenario)
            if decision.rule == UNDONE_RULE and first != scenario and not self._has_undone:
                self._undo_stop(key, now_s)
            if decision.rule == "reclaim":
                self._withdraw_requests(now_s)
        elif decision.verb == "restarted" and scenario.undone_s is not None:
            self.finished.setdefault("undone", replace(scenario, back_s=now_s))

    def _undo_stop(self, key: tuple[str, str, str], now_s: int) -> None:
        """Undo one stop, like an operator who learns that the server was still needed."""
        startup, server_id, rule = key
        (stop,) = last_decisions(
            self._book, 1, startup=startup, server_id=server_id, rule=rule, verb="stop"
        )
        undo(self._book, stop["id"], "demo", "its work was to go on", now_s)
        self._open[key] = replace(self._open[key], undone_s=now_s)
        self._has_undone = True

    def _request_back(self, view: View, now_s: int) -> None:
        """While a startup borrows, request every owner's whole quota, which is not free."""
        if self._asked_s is not None and now_s < self._asked_s + ASK_AGAIN_S:
            return
        lent = {share.pool for share in view.status.shares if share.usage > share.nominal > 0}
        may = names_that_may_request(view)
        self._withdraw_requests(now_s)
        for share in view.status.shares:
            if share.pool not in lent or share.usage >= share.nominal or share.startup not in may:
                continue
            own = (share.startup, share.pool, share.nominal)
            ask = RequestSpec(*own, ASKED_FOR_S, "an urgent training run", "demo", now_s)
            try:
                number = open_request(self._book, ask).id
            except Refused:
                continue  # the cohort ends before
            self._asked_s = now_s
            if number is not None:
                self._asked.append(number)

    def _withdraw_requests(self, now_s: int) -> None:
        """Withdraw the requests that the operator opened for the scenario."""
        while self._asked:
            try:
                withdraw_request(self._book, self._asked.pop(), now_s, "the scenario has ended")
            except Refused:
                continue  # it has ended by itself


def _plain(scenario: Scenario) -> dict[str, Any]:
    instants = {"notice": "noticed_s", "deadline": "deadline_s", "stopped": "stopped_s"}
    if scenario.undone_s is not None:
        instants |= {"undone": "undone_s", "back": "back_s"}
    return json_fields(scenario, "startup server reason", **instants)
