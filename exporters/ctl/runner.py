"""Shared parts of the commands: the connection, --json, --watch, and printing."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from exporters.ctl.api import BAD_INPUT, UNREACHABLE, ApiError
from exporters.ctl.clock import MachineClock
from exporters.ctl.settings import SettingsError, read_settings

if TYPE_CHECKING:
    from exporters.ctl.client import Client

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Watch = Annotated[bool, typer.Option("--watch", help="Go on, and show every change.")]
Key = Annotated[
    str | None, typer.Option(help="Makes the write safe to repeat: the same key asks once.")
]
WATCH_S = 5
CLEAR = "\x1b[H\x1b[2J"
DECISION_POLL_S, MAX_POLLS = 5, 60
"""How often a write is polled with --wait, and how many times."""


def connect() -> Client:
    """The API that the settings name. Raises ApiError."""
    from exporters.ctl.client import Client  # importing it takes half of the time of a start

    try:
        return Client(read_settings(os.environ))
    except SettingsError as error:
        raise ApiError(str(error), BAD_INPUT) from None


def to_json_text(value: object) -> str:
    """A value as JSON, sorted and indented."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)


def show(
    ask: Callable[[], Any], render: Callable[[Any], str], *, as_json: bool, watch: bool
) -> Any:
    """Print an answer; with `watch` print every change until interrupted."""
    found = ask()
    printed = _print(found, render, "", as_json=as_json, watch=watch)
    while watch:
        MachineClock().wait(WATCH_S)
        try:
            found = ask()
        except ApiError as error:
            if error.code != UNREACHABLE:
                raise
            typer.echo(f"cohortctl: {error}; trying again", err=True)
            continue
        printed = _print(found, render, printed, as_json=as_json, watch=watch)
    return found


def _print(
    found: Any, render: Callable[[Any], str], printed: str, *, as_json: bool, watch: bool
) -> str:
    text = to_json_text(found) if as_json else render(found)
    if text != printed:
        redraw = watch and not as_json and typer.get_text_stream("stdout").isatty()
        typer.echo((CLEAR if redraw else "") + text)
    return text


def new_key(key: str | None) -> str:
    """The key of a write: the given one, or a new random one."""
    return key or secrets.token_hex(16)


def send_write(
    client: Client,
    send: Callable[[str], Mapping[str, Any]],
    key: str | None,
    *,
    wait: bool,
    as_json: bool,
) -> None:
    """Send a write and print that it was accepted; with `wait`, print the decision."""
    sent_key = new_key(key)
    try:
        accepted = send(sent_key)
    except ApiError as error:
        if error.code != UNREACHABLE:
            raise
        again = f"{error}; it may be kept: repeat it with --key {sent_key}"
        raise ApiError(again, UNREACHABLE) from None
    if not wait:
        typer.echo(
            to_json_text(accepted)
            if as_json
            else f"{accepted['kind']} is kept; the next cycle decides"
        )
        return
    for _ in range(MAX_POLLS):
        answer = client.get(f"writes/{accepted['id']}")
        if answer["state"] != "waiting":
            typer.echo(to_json_text(answer) if as_json else f"{answer['state']}: {answer['text']}")
            raise typer.Exit(0 if answer["state"] == "done" else 1)
        MachineClock().wait(DECISION_POLL_S)
    raise ApiError(
        f"nothing was decided yet; see it later under writes/{accepted['id']}", UNREACHABLE
    )
