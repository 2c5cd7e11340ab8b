"""Which four stories does a rehearsal tell of enforcement, and how does each of them go?

A borrowed server goes back to its owner, a leak in standby is ended, credits run out, and
a mistake is undone. Leaks and the end of credits happen by themselves. For the others an
operator does what operators do: asks owners' quota back, and takes one stop back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from quotas.book import Book
from quotas.book.actions.requests import open_request, withdraw_request
from quotas.book.actions.undo import undo
from quotas.book.cycle.state import last_decisions
from quotas.decisions.snapshot import Decision
from quotas.ledger.corrections import Refused
from quotas.model.units import DAY_S, HOUR_S, format_instant
from quotas.queue.requests import Ask
from quotas.view import View

TITLES: Mapping[str, str] = {
    "borrowed": "a borrowed server returned",
    "leaked": "a standby leak ended",
    "credits": "an exhaustion announced and executed",
    "undone": "a mistake undone",
}
MISTAKEN = "leaked"
"""The second stop of this kind is taken back; the first is a story of its own."""
ASKED_FOR_S = 6 * HOUR_S
ASK_AGAIN_S = 2 * DAY_S


@dataclass(frozen=True, slots=True)
class Story:
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


class Stories:
    """Follows every stop, keeps the first of each kind that was told to its end."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._open: dict[tuple[str, str, str], Story] = {}
        self._asked: list[int] = []
        self._asked_s: int | None = None
        self._mistakes = 0
        self.told: dict[str, Story] = {}

    def follow(self, view: View | None, now_s: int) -> list[str]:
        """Hear of a cycle, and do the operator's part; returns the stories that it ended."""
        if view is None:
            return []
        before = set(self.told)
        for decision in view.decisions:
            if decision.server_id:
                self._hear(decision, view, now_s)
        if "borrowed" not in self.told:
            self._ask_back(view, now_s)
        return [self._line(name) for name in TITLES if name in self.told and name not in before]

    def as_json(self) -> dict[str, Any]:
        """For `demo --json`: each story, or null where so short a program had none."""
        return {"stories": {name: _plain(self.told.get(name)) for name in TITLES}}

    def lines(self) -> Iterator[str]:
        """For the summary."""
        yield "stories:"
        yield from (f"  {self._line(name)}" for name in TITLES)

    def _line(self, name: str) -> str:
        story, title = self.told.get(name), TITLES[name]
        if story is None or story.stopped_s is None:
            return f"{title}: none in this program; give it more days"
        line = (
            f"{title}: {story.server} of {story.startup}, notice {_at(story.noticed_s)}, due "
            f"{_at(story.deadline_s)}, stopped {_at(story.stopped_s)}"
        )
        if story.undone_s is not None and story.back_s is not None:
            line += f", undone {_at(story.undone_s)}, back {_at(story.back_s)}"
        return f"{line}: {story.reason}"

    def _hear(self, decision: Decision, view: View, now_s: int) -> None:
        key = (decision.startup, decision.server_id, decision.rule)
        story = self._open.get(key)
        if decision.verb == "notify":
            notice = next((n for n in view.notices if n.subject == key), None)
            if notice is not None:
                self._open[key] = Story(
                    decision.startup,
                    notice.server_name,
                    decision.reason,
                    now_s,
                    notice.deadline_s,
                )
        elif story is None:
            return
        elif decision.verb == "stop":
            self._open[key] = replace(story, stopped_s=now_s)
        elif decision.verb == "executed":
            self._open[key] = replace(story, is_off=True)
            self.told.setdefault(decision.rule, self._open[key])
            if decision.rule == MISTAKEN and self.told[MISTAKEN] != self._open[key]:
                self._take_back(key, now_s)
            if decision.rule == "borrowed":
                self._withdraw(now_s)
        elif decision.verb == "restored" and story.undone_s is not None:
            self.told.setdefault("undone", replace(story, back_s=now_s))

    def _take_back(self, key: tuple[str, str, str], now_s: int) -> None:
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

    def _ask_back(self, view: View, now_s: int) -> None:
        """While somebody borrows, ask for every owner's whole quota: more than is free."""
        if self._asked_s is not None and now_s < self._asked_s + ASK_AGAIN_S:
            return
        lent = {share.pool for share in view.shares if share.usage > share.nominal > 0}
        may = {startup.name for startup in view.startups if startup.level in ("open", "paced")}
        self._withdraw(now_s)
        for share in view.shares:
            if share.pool not in lent or share.usage >= share.nominal or share.startup not in may:
                continue
            why = "an urgent training run"
            ask = Ask(share.startup, share.pool, share.nominal, ASKED_FOR_S, why, "demo", now_s)
            try:
                number = open_request(self._book, ask).id
            except Refused:
                continue  # the cohort ends before
            self._asked_s = now_s
            if number is not None:
                self._asked.append(number)

    def _withdraw(self, now_s: int) -> None:
        """Take back what was asked for the story."""
        while self._asked:
            try:
                withdraw_request(self._book, self._asked.pop(), now_s, "the story is told")
            except Refused:
                continue  # it has ended by itself


def _plain(story: Story | None) -> dict[str, Any] | None:
    if story is None:
        return None
    told: dict[str, Any] = {
        "startup": story.startup,
        "server": story.server,
        "reason": story.reason,
        "notice": _at(story.noticed_s),
        "deadline": _at(story.deadline_s),
        "stopped": None if story.stopped_s is None else _at(story.stopped_s),
    }
    if story.undone_s is not None:
        told["undone"] = _at(story.undone_s)
        told["back"] = None if story.back_s is None else _at(story.back_s)
    return told


def _at(instant_s: int) -> str:
    return format_instant(instant_s)
