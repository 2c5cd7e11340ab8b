"""Commands about notices: list, acknowledge, snooze, test the channels, show a secret."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any

import typer

from exporters.notify.settings import SettingsError, read_settings
from quotas.book import Address, Book
from quotas.book.actions.notices import (
    acknowledge,
    last_tested_s,
    list_notices,
    send_test_notice,
    snooze,
)
from quotas.model.units import format_instant
from quotas.state.notices import Notice
from scheduler.cli.options import (
    DEFAULT_STATE,
    Json,
    Limit,
    OfStartup,
    Reason,
    Startup,
    State,
    actor,
    fail,
    parse_duration_option,
    parse_reason,
    print_json,
)
from scheduler.clock import SystemClock
from scheduler.views.json_fields import json_fields

INSTANTS = "opened_s deadline_s acknowledged_s"

app = typer.Typer(
    name="notice", no_args_is_help=True, help="List, acknowledge, snooze and test notices."
)
Number = Annotated[int, typer.Argument(metavar="ID", help="The notice's number.")]


@app.command("list")
def list_(
    startup: OfStartup = None,
    limit: Limit = 20,
    state: State = DEFAULT_STATE,
    as_json: Json = False,
) -> None:
    """List the newest notices, live ones first, and whether each message was delivered."""
    found = [_shown(row) for row in list_notices(Book.open_existing(state), limit, startup)]
    if as_json:
        print_json(found)
        return
    for row in found:
        by = f", acknowledged by {row['acknowledged_by']}" if row["acknowledged"] else ""
        typer.echo(
            f"{row['id']}: {row['state']} {row['startup']} {row['server_name']} {row['rule']}, "
            f"due {row['deadline']}{by}"
        )
        for sent in row["messages"]:
            detail = f" ({sent['detail']})" if sent["detail"] else ""
            typer.echo(f"   {sent['kind']} to {sent['to']}: {sent['state']}{detail}")


@app.command()
def ack(notice: Number, state: State = DEFAULT_STATE, as_json: Json = False) -> None:
    """Record that somebody has read a notice. Only the first acknowledgement counts."""
    _respond(state, as_json, lambda book, now_s: acknowledge(book, notice, actor(), now_s))


@app.command("snooze")
def snooze_(
    notice: Number,
    for_: Annotated[str, typer.Option("--for", help="How much later: 30m, 1h.")],
    reason: Reason,
    state: State = DEFAULT_STATE,
    as_json: Json = False,
) -> None:
    """Move a notice's deadline later, within the policy's bounds."""
    for_s, why = parse_duration_option("--for", for_), parse_reason(reason)
    _respond(state, as_json, lambda book, now_s: snooze(book, notice, for_s, why, actor(), now_s))


@app.command("test")
def send_test(startup: Startup, state: State = DEFAULT_STATE, as_json: Json = False) -> None:
    """Send a test notice through every channel of a startup, which should acknowledge it."""
    _respond(state, as_json, lambda book, now_s: send_test_notice(book, startup, actor(), now_s))


@app.command()
def secret(startup: Annotated[str, typer.Argument(help='A startup; "" for operators.')]) -> None:
    """Print the secret that signs a startup's webhooks. Give it to the startup."""
    try:
        settings = read_settings(os.environ)
    except SettingsError as error:
        fail(str(error))
    if not settings.webhook_secret:
        fail("COHORTD_WEBHOOK_SECRET is not set, nor the credential webhook-secret")
    typer.echo(settings.secret_of(startup))


def _respond(state: Address, as_json: bool, operator_action: Callable[[Book, int], Notice]) -> None:
    book = Book.open_existing(state)
    try:
        notice = operator_action(book, SystemClock().now_s())
        when_tested = last_tested_s(book, notice.startup)
    finally:
        book.close()
    row = _shown(asdict(notice))
    row["tested"] = None if when_tested is None else format_instant(when_tested)
    if as_json:
        print_json(row)
    else:
        by = row["acknowledged_by"] or "nobody yet"
        typer.echo(f"notice {row['id']}: due {row['deadline']}, acknowledged by {by}")


def _shown(row: Any) -> dict[str, Any]:
    """A notice with its instants as text."""
    shown = {name: value for name, value in row.items() if name not in INSTANTS.split()}
    return shown | json_fields(row, INSTANTS)
