"""How does a server hear of its own end in time? The loop of `cohortctl on-notice`.

A round reads the live notices, runs the hook of each that is due, acknowledges what ended
well, and waits for news by a long poll. While the API is away the rounds go on with the
deadlines that are known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from exporters.ctl.api import UNREACHABLE, Api, ApiError
from exporters.ctl.clock import Clock
from exporters.ctl.on_notice.notice_watch import DUE, Promise, changed, due, merged, quiet_s
from exporters.ctl.on_notice.state_file import Memory

POLL_S, RETRY_S = 25, 10
PAGE = 200


@dataclass(frozen=True, slots=True)
class Watched:
    """Under which names this server is known, and how long before a deadline the hook runs."""

    names: frozenset[str]
    before_s: int


@dataclass(frozen=True, slots=True)
class Hook:
    """Runs the command of a promise and answers its exit status; `held` lets it end."""

    run: Callable[[Promise], int]
    held: Callable[[], AbstractContextManager[None]]


class Follower:
    """Follows one startup's notices for one server."""

    def __init__(
        self,
        api: Api,
        watched: Watched,
        memory: Memory,
        clock: Clock,
        hook: Hook,
        say: Callable[[str], None],
    ) -> None:
        self._api, self._watched, self._memory = api, watched, memory
        self._clock, self._hook, self._say = clock, hook, say
        self._known = memory.read()
        self._cursor: str | None = None
        self._is_here, self._is_told = False, False

    def act(self) -> None:
        """Look, run what is due, and acknowledge. Raises ApiError where going on is no use."""
        self._is_here = self._try(self._look)
        before_s = self._watched.before_s
        while (ready := due(self._known, before_s, self._clock.now_s())) is not None:
            with self._hook.held():
                self._run(ready)
        for promise in self._known:
            if self._is_here and promise.owes_answer:
                self._is_here = self._try(partial(self._answer, promise))

    def rest(self) -> None:
        """Wait for news, but no longer than nothing is due."""
        most_s = POLL_S if self._is_here else RETRY_S
        quiet = quiet_s(self._known, self._watched.before_s, self._clock.now_s(), most_s)
        if quiet and not (self._is_here and self._try(partial(self._wait, quiet))):
            self._clock.wait(min(quiet, RETRY_S))

    def _look(self) -> None:
        known = merged(self._known, self._live(), self._watched.names)
        if known != self._known:
            self._keep(known)

    def _live(self) -> list[Mapping[str, Any]]:
        page = self._api.get("notices", live="true", limit=PAGE)
        items = list(page["items"])
        while page["next"] is not None:
            page = self._api.get("notices", live="true", limit=PAGE, cursor=page["next"])
            items += page["items"]
        return items

    def _run(self, promise: Promise) -> None:
        self._keep(changed(self._known, replace(promise, state="begun")))
        self._say(f"notice {promise.id}: running the hook; {promise.reason}")
        status = self._hook.run(promise)
        state = "failed" if status else "done"
        self._keep(changed(self._known, replace(promise, state=state)))
        told = f"failed with status {status}, not acknowledged" if status else "done"
        self._say(f"notice {promise.id}: hook {told}")

    def _answer(self, promise: Promise) -> None:
        """Acknowledge, once; a refusal is an answer too."""
        answer = "given"
        try:
            self._api.post(f"notices/{promise.id}/acknowledge", {}, f"on-notice-{promise.id}")
        except ApiError as error:
            if error.code == UNREACHABLE:
                raise
            answer = "refused"
            self._say(f"notice {promise.id}: not acknowledged: {error}")
        self._keep(changed(self._known, replace(promise, answer=answer)))

    def _wait(self, quiet: int) -> None:
        """Wait for news, from the newest event on."""
        while self._cursor is None:
            self._cursor = self._newest()
        page = self._api.get("events", quiet, cursor=self._cursor)
        self._cursor = str(page["next"])

    def _newest(self) -> str:
        cursor = "0-0"
        while (page := self._api.get("events", cursor=cursor, limit=PAGE))["items"]:
            cursor = str(page["next"])
        return cursor

    def _keep(self, known: tuple[Promise, ...]) -> None:
        self._memory.write(known)
        self._known = known

    def _try(self, ask: Callable[[], None]) -> bool:
        """Whether the API answered. A refusal ends the command, unless a deadline is known."""
        try:
            ask()
        except ApiError as error:
            waits = any(each.state in DUE for each in self._known)
            if error.code != UNREACHABLE and not waits:
                raise
            if not self._is_told:
                self._say(f"{error}; trying again, and keeping to the deadlines that are known")
            self._is_told = True
            return False
        self._is_told = False
        return True
