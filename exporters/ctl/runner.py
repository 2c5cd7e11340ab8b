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
Watch = Annotated[bool, typer.Option("--watch", help="Keep running; show every change.")]
Key = Annotated[
    str | None, typer.Option(help="An id of your choice: a repetition with it changes nothing.")
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
    path: str, render: Callable[[Any], str], *, as_json: bool, watch: bool = False, **query: str
) -> Any:
    """Print and return an answer; with `watch` print every change until interrupted."""
    client, printed = connect(), ""
    while True:
        try:
            found = client.get(path, 0, **query)
        except ApiError as error:
            if not printed or error.code != UNREACHABLE:
                raise
            typer.echo(f"cohortctl: {error}; trying again", err=True)
        else:
            text = to_json_text(found) if as_json else render(found)
            if text != printed:
                redraw = watch and not as_json and typer.get_text_stream("stdout").isatty()
                typer.echo((CLEAR if redraw else "") + text)
            if not watch:
                return found
            printed = text
        MachineClock().wait(WATCH_S)


def send_write(
    what: str,
    path: str,
    body: Mapping[str, Any] | None,
    key: str | None,
    *,
    wait: bool,
    as_json: bool,
) -> None:
    """Send a write and print that it was accepted; with `wait`, print the decision.

    A write without a body withdraws what the path names.
    """
    client, key = connect(), key or secrets.token_hex(16)
    try:
        accepted = client.delete(path, key) if body is None else client.post(path, body, key)
    except ApiError as error:
        if error.code != UNREACHABLE:
            raise
        again = f"{error}; it may be kept: repeat it with --key {key}"
        raise ApiError(again, UNREACHABLE) from None
    if not wait:
        kept = f"{what} is kept; the next cycle decides"
        typer.echo(to_json_text(accepted) if as_json else kept)
        return
    link = f"writes/{accepted['id']}"
    for _ in range(MAX_POLLS):
        answer = client.get(link)
        if answer["state"] != "waiting":
            typer.echo(to_json_text(answer) if as_json else f"{answer['state']}: {answer['text']}")
            raise typer.Exit(0 if answer["state"] == "done" else 1)
        MachineClock().wait(DECISION_POLL_S)
    raise ApiError(f"nothing was decided yet; see it later under {link}", UNREACHABLE)
