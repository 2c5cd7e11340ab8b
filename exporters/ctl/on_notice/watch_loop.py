"""The loop of `cohortctl on-notice`: it runs a hook before this server is stopped.

A round reads the live notices, runs each hook that is due, acknowledges those that succeeded, and
waits for news by a long poll. While the API is unreachable the rounds go on with the deadlines
that are known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from exporters.ctl.api import UNREACHABLE, Api, ApiError
from exporters.ctl.clock import Clock
from exporters.ctl.on_notice.notice_watch import (
    DUE,
    WatchedNotice,
    merge_live,
    next_due,
    quiet_for_s,
    with_replaced,
)
from exporters.ctl.on_notice.state_file import StateFile

POLL_S, RETRY_S = 25, 10
PAGE = 200


@dataclass(frozen=True, slots=True)
class WatchTarget:
    """The names of this server, and how long before a deadline the hook runs."""

    names: frozenset[str]
    before_s: int


@dataclass(frozen=True, slots=True)
class Hook:
    """Runs the command for a notice; `uninterrupted` delays signals until the command ends."""

    run: Callable[[WatchedNotice], int]
    uninterrupted: Callable[[], AbstractContextManager[None]]


class WatchLoop:
    """Follows one startup's notices for one server."""

    def __init__(
        self,
        api: Api,
        target: WatchTarget,
        state_file: StateFile,
        clock: Clock,
        hook: Hook,
        log: Callable[[str], None],
    ) -> None:
        self._api, self._target, self._state_file = api, target, state_file
        self._clock, self._hook, self._log = clock, hook, log
        self._known = state_file.read()
        self._cursor: str | None = None
        self._is_reachable, self._is_outage_logged = False, False

    def poll_once(self) -> None:
        """Read, run what is due, and acknowledge. Raises ApiError if retrying is useless."""
        self._is_reachable = self._try(self._refresh)
        before_s = self._target.before_s
        while (ready := next_due(self._known, before_s, self._clock.now_s())) is not None:
            with self._hook.uninterrupted():
                self._run(ready)
        for notice in self._known:
            if self._is_reachable and notice.needs_acknowledgement:
                self._is_reachable = self._try(partial(self._acknowledge, notice))

    def wait_for_news(self) -> None:
        """Wait for news, at most until the next hook is due."""
        most_s = POLL_S if self._is_reachable else RETRY_S
        quiet_time_s = quiet_for_s(self._known, self._target.before_s, self._clock.now_s(), most_s)
        if quiet_time_s and not (
            self._is_reachable and self._try(partial(self._wait, quiet_time_s))
        ):
            self._clock.wait(min(quiet_time_s, RETRY_S))

    def _refresh(self) -> None:
        known = merge_live(self._known, self._live_notices(), self._target.names)
        if known != self._known:
            self._save(known)

    def _live_notices(self) -> list[Mapping[str, Any]]:
        page = self._api.get("notices", live="true", limit=PAGE)
        items = list(page["items"])
        while page["next"] is not None:
            page = self._api.get("notices", live="true", limit=PAGE, cursor=page["next"])
            items += page["items"]
        return items

    def _run(self, notice: WatchedNotice) -> None:
        self._save(with_replaced(self._known, replace(notice, state="begun")))
        self._log(f"notice {notice.id}: running the hook; {notice.reason}")
        status = self._hook.run(notice)
        state = "failed" if status else "done"
        self._save(with_replaced(self._known, replace(notice, state=state)))
        result = f"failed with status {status}, not acknowledged" if status else "done"
        self._log(f"notice {notice.id}: hook {result}")

    def _acknowledge(self, notice: WatchedNotice) -> None:
        """Acknowledge once; a refusal is final, too."""
        acknowledgement = "sent"
        try:
            self._api.post(f"notices/{notice.id}/acknowledge", {}, f"on-notice-{notice.id}")
        except ApiError as error:
            if error.code == UNREACHABLE:
                raise
            acknowledgement = "refused"
            self._log(f"notice {notice.id}: not acknowledged: {error}")
        self._save(with_replaced(self._known, replace(notice, acknowledgement=acknowledgement)))

    def _wait(self, quiet_time_s: int) -> None:
        """Wait for news, from the newest event on."""
        while self._cursor is None:
            self._cursor = self._newest()
        page = self._api.get("events", quiet_time_s, cursor=self._cursor)
        self._cursor = str(page["next"])

    def _newest(self) -> str:
        cursor = "0-0"
        while (page := self._api.get("events", cursor=cursor, limit=PAGE))["items"]:
            cursor = str(page["next"])
        return cursor

    def _save(self, known: tuple[WatchedNotice, ...]) -> None:
        self._state_file.write(known)
        self._known = known

    def _try(self, ask: Callable[[], None]) -> bool:
        """Whether the API answered. A refusal ends the command, unless a deadline is known."""
        try:
            ask()
        except ApiError as error:
            waits = any(each.state in DUE for each in self._known)
            if error.code != UNREACHABLE and not waits:
                raise
            if not self._is_outage_logged:
                self._log(f"{error}; trying again, and keeping to the deadlines that are known")
            self._is_outage_logged = True
            return False
        self._is_outage_logged = False
        return True
