"""Commands about notices: list, acknowledge, snooze, test the channels, show a secret."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Annotated, Any

import typer

from exporters.notify.settings import SettingsError, read_settings
from quotas.book import Book
from quotas.book.actions.notices import (
    acknowledge,
    last_tested_s,
    list_notices,
    send_test_notice,
    snooze,
)
from quotas.messages.catalogue import notice_text
from quotas.model.units import format_instant
from quotas.state.notices import Notice
from scheduler.cli import options
from scheduler.cli.commands import Answer, answer_command
from scheduler.clock import SystemClock
from scheduler.views.json_fields import json_fields

INSTANTS = "opened_s deadline_s acknowledged_s"

app = typer.Typer(
    name="notice", no_args_is_help=True, help="List, acknowledge, snooze and test notices."
)
Number = Annotated[int, typer.Argument(metavar="ID", help="The notice's number.")]


@answer_command(app, "list")
def list_(book: Book, startup: options.OfStartup = None, limit: options.Limit = 20) -> Answer:
    """List the newest notices, live ones first, and whether each message was delivered."""
    listed = list_notices(book, limit, startup)
    lines, found = [], [{**_shown(notice), "messages": messages} for notice, messages in listed]
    for row in found:
        by = f", acknowledged by {row['acknowledged_by']}" if row["acknowledged"] else ""
        what = f"{row['state']} {row['startup']} {row['server_name']} {row['rule']}"
        lines.append(f"{row['id']}: {what}, due {row['deadline']}{by}")
        for sent in row["messages"]:
            detail = f" ({sent['detail']})" if sent["detail"] else ""
            lines.append(f"   {sent['kind']} to {sent['to']}: {sent['state']}{detail}")
    return found, lines


@answer_command(app)
def ack(book: Book, notice: Number) -> Answer:
    """Record that somebody has read a notice. Only the first acknowledgement counts."""
    return _answer(book, acknowledge(book, notice, options.actor(), SystemClock().now_s()))


@answer_command(app, "snooze")
def snooze_(
    book: Book,
    notice: Number,
    for_: Annotated[str, typer.Option("--for", help="How much later: 30m, 1h.")],
    reason: options.Reason,
) -> Answer:
    """Move a notice's deadline later, within the policy's bounds."""
    for_s, why = options.parse_duration_option("--for", for_), options.parse_reason(reason)
    return _answer(book, snooze(book, notice, for_s, why, options.actor(), SystemClock().now_s()))


@answer_command(app, "test")
def send_test(book: Book, startup: options.Startup) -> Answer:
    """Send a test notice through every channel of a startup, which should acknowledge it."""
    return _answer(book, send_test_notice(book, startup, options.actor(), SystemClock().now_s()))


@app.command()
def secret(startup: Annotated[str, typer.Argument(help='A startup; "" for operators.')]) -> None:
    """Print the secret that signs a startup's webhooks. Give it to the startup."""
    try:
        settings = read_settings(os.environ)
    except SettingsError as error:
        options.fail(str(error))
    if not settings.webhook_secret:
        options.fail("COHORTD_WEBHOOK_SECRET is not set, nor the credential webhook-secret")
    typer.echo(settings.secret_of(startup))


def _answer(book: Book, notice: Notice) -> Answer:
    """A notice as it is now, and when its startup last acknowledged a test."""
    row, tested_s = _shown(notice), last_tested_s(book, notice.startup)
    row["tested"] = None if tested_s is None else format_instant(tested_s)
    by = row["acknowledged_by"] or "nobody yet"
    return row, [f"notice {row['id']}: due {row['deadline']}, acknowledged by {by}"]


def _shown(notice: Notice) -> dict[str, Any]:
    hidden = ("facts", *INSTANTS.split())
    shown = {name: value for name, value in asdict(notice).items() if name not in hidden}
    return shown | {"text": notice_text(notice)} | json_fields(notice, INSTANTS)
