"""The loop of `cohortctl on-notice`: it runs a hook before this server is stopped.

A round reads the live notices, runs each hook that is due, acknowledges those that succeeded, and
waits. Nothing that fails beside the hook keeps the hook from running: while the API is unreachable
the rounds go on with the deadlines that are known, and while the state file cannot be written they
go on with the notices in memory. A round that finds no server of this machine says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from exporters.ctl.api import UNREACHABLE, Api, ApiError
from exporters.ctl.clock import Clock
from exporters.ctl.on_notice.identity import Identity, servers_text
from exporters.ctl.on_notice.notice_watch import (
    DUE,
    WatchedNotice,
    merge_live,
    next_due,
    quiet_for_s,
    with_replaced,
)
from exporters.ctl.on_notice.state_file import StateFile, StateFileError

POLL_S, RETRY_S = 25, 10
"""A token may send 600 requests a minute, which is enough for 200 servers with one token."""
PAGE = 200


@dataclass(frozen=True, slots=True)
class WatchTarget:
    """How this machine is identified, and how long before a deadline the hook runs."""

    identify: Callable[[], Identity]
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
        self._logged: dict[str, str] = {}
        self._known: tuple[WatchedNotice, ...] = ()
        self._identity, self._is_found, self._is_reachable = target.identify(), False, False
        self._log_change("identity", f"waiting for notices about {self._identity.source}")
        try:
            self._known = state_file.read()
        except StateFileError as error:
            self._log_state_fault(error)

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
        if self._is_reachable and not self._is_found:
            self._is_reachable = self._try(self._find_server)

    def wait_for_news(self) -> None:
        """Wait until the next hook is due, at most until the next poll."""
        most_s = POLL_S if self._is_reachable else RETRY_S
        self._clock.wait(
            quiet_for_s(self._known, self._target.before_s, self._clock.now_s(), most_s)
        )

    def _refresh(self) -> None:
        try:
            known = merge_live(self._known, self._live_notices(), self._identity)
        except (KeyError, TypeError, ValueError) as error:
            detail = f"the notices that the API answered cannot be read: {error!r}"
            raise ApiError(detail, UNREACHABLE) from None
        if known != self._known:
            self._save(known)

    def _live_notices(self) -> list[Mapping[str, Any]]:
        page = self._api.get("notices", live="true", limit=PAGE)
        items = list(page["items"])
        while page["next"] is not None:
            page = self._api.get("notices", live="true", limit=PAGE, cursor=page["next"])
            items += page["items"]
        return items

    def _find_server(self) -> None:
        """Say which server this machine is, or that it is none: then no notice would name it."""
        self._identity = self._target.identify()
        try:
            servers = list(self._api.get("servers")["items"])
            own = [each for each in servers if self._identity.matches(each["id"], each["name"])]
            known_as = ", ".join(f"{each['name']} ({each['id']})" for each in own)
        except (KeyError, TypeError) as error:
            detail = f"the servers that the API answered cannot be read: {error!r}"
            raise ApiError(detail, UNREACHABLE) from None
        self._is_found = bool(own)
        self._identity = self._identity.with_ids(each["id"] for each in own)
        if own:
            self._log_change("identity", f"this machine is {known_as}")
            return
        self._log_change(
            "identity",
            f"no running server of yours is this machine ({self._identity.source}), so notices "
            f"about it are missed: name it with --server; yours are {servers_text(servers)}",
        )

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

    def _save(self, known: tuple[WatchedNotice, ...]) -> None:
        """Remember the notices, in the file too where possible."""
        self._known = known
        try:
            self._state_file.write(known)
        except StateFileError as error:
            self._log_state_fault(error)

    def _log_state_fault(self, error: StateFileError) -> None:
        self._log_change(
            "state", f"{error}. Notices are kept in memory: a restart runs their hooks again"
        )

    def _try(self, ask: Callable[[], None]) -> bool:
        """Whether the API answered. A refusal ends the command, unless a deadline is known."""
        try:
            ask()
        except ApiError as error:
            waits = any(each.state in DUE for each in self._known)
            if error.code != UNREACHABLE and not waits:
                raise
            self._log_change(
                "api", f"{error}; trying again, and keeping to the deadlines that are known"
            )
            return False
        self._logged.pop("api", None)
        return True

    def _log_change(self, topic: str, sentence: str) -> None:
        """Log a sentence about a topic unless it was the last one about it."""
        if self._logged.get(topic) != sentence:
            self._logged[topic] = sentence
            self._log(sentence)
