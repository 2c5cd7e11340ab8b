"""The command `cohortctl on-notice`: run a hook before this server is stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from exporters.ctl.api import BAD_INPUT, ApiError
from exporters.ctl.clock import MachineClock
from exporters.ctl.on_notice.notice_watch import WatchedNotice
from exporters.ctl.on_notice.state_file import StateFile
from exporters.ctl.on_notice.watch_loop import Hook, WatchLoop, WatchTarget
from exporters.ctl.runner import connect
from quotas.model.units import format_instant, parse_duration

CANNOT_RUN = 127
_SETTINGS = ("COHORTCTL_TOKEN", "COHORTCTL_URL", "COHORTCTL_CONFIG")


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command("on-notice")(on_notice)


def on_notice(
    hook: Annotated[list[str], typer.Argument(help="The command, after --.")],
    before: Annotated[str, typer.Option(help="How long before a deadline it runs.")] = "10m",
    server: Annotated[
        list[str] | None, typer.Option(help="Name or id of this server; its host name by default.")
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="File that remembers which hooks have run.")
    ] = None,
) -> None:
    """Run a hook once for each notice that will stop this server, then acknowledge it.

    After SIGTERM it waits for a running hook, then exits.
    """
    try:
        before_s = parse_duration(before)
    except ValueError as error:
        raise ApiError(f"--before: {error}", BAD_INPUT) from None
    graceful_exit = GracefulExit()
    names = frozenset(server or [socket.gethostname()])
    watch_loop = WatchLoop(
        connect(),
        WatchTarget(names, before_s),
        StateFile(state or _default_state()),
        MachineClock(),
        Hook(lambda notice: run_hook(hook, notice), graceful_exit.uninterrupted),
        _log,
    )
    _log(f"waiting for notices about {', '.join(sorted(names))}")
    while True:
        watch_loop.poll_once()
        graceful_exit.exit_if_requested()
        watch_loop.wait_for_news()


class GracefulExit:
    """SIGTERM ends the process at once, or at the end of a running hook."""

    def __init__(self) -> None:
        self._is_uninterruptible, self._is_requested = False, False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    @contextmanager
    def uninterrupted(self) -> Iterator[None]:
        """Let this block end before a signal ends the process."""
        self._is_uninterruptible = True
        try:
            yield
        finally:
            self._is_uninterruptible = False

    def exit_if_requested(self) -> None:
        """Exit if a signal arrived while a hook ran."""
        if self._is_requested:
            raise SystemExit(0)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._is_requested = True
        if not self._is_uninterruptible:
            raise SystemExit(0)


def run_hook(hook: list[str], notice: WatchedNotice) -> int:
    """Run the command with the notice in its environment, and return its exit status."""
    env = {name: value for name, value in os.environ.items() if name not in _SETTINGS}
    env |= {
        "COHORTD_NOTICE_ID": str(notice.id),
        "COHORTD_NOTICE_DEADLINE": format_instant(notice.deadline_s),
        "COHORTD_NOTICE_REASON": notice.reason,
        "COHORTD_NOTICE_RULE": notice.rule,
        "COHORTD_NOTICE_SERVER": notice.server,
    }
    try:
        return subprocess.run(hook, env=env, check=False).returncode
    except OSError as error:
        _log(f"{hook[0]} cannot be run: {error}")
        return CANNOT_RUN


def _default_state() -> Path:
    """The state folder of systemd, or else the user's own."""
    folder_name = os.environ.get("STATE_DIRECTORY") or os.environ.get("XDG_STATE_HOME")
    folder = Path(folder_name) if folder_name else Path.home() / ".local" / "state"
    return folder / "cohortctl-on-notice.json"


def _log(sentence: str) -> None:
    typer.echo(f"cohortctl: {sentence}", err=True)
