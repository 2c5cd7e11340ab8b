"""Commands about notices: list, acknowledge, snooze, test the channels, show a secret."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any, NoReturn

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
from quotas.ledger.corrections import Refused
from quotas.messages.catalogue import notice_text
from quotas.model.units import format_instant, parse_duration
from quotas.state.notices import Notice
from scheduler.cli.options import DEFAULT_STATE, Json, State, actor, print_json
from scheduler.clock import SystemClock

REFUSED, BAD_INPUT = 1, 2
MAX_REASON_LENGTH = 500
INSTANTS = ("opened_s", "deadline_s", "acknowledged_s")

app = typer.Typer(no_args_is_help=True, help="List, acknowledge, snooze and test notices.")
Number = Annotated[int, typer.Argument(metavar="ID", help="The notice's number.")]


def register(parent: typer.Typer) -> None:
    """Add the group `notice`."""
    parent.add_typer(app, name="notice")


@app.command("list")
def list_(
    startup: Annotated[str | None, typer.Option(help="Of this startup only.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 20,
    state: State = DEFAULT_STATE,
    as_json: Json = False,
) -> None:
    """Show the newest notices, live ones first, and how each message about them went."""
    listed = list_notices(Book.open_existing(state), limit, startup)
    found = [{**_shown(notice), "messages": messages} for notice, messages in listed]
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
    """Acknowledge a notice: somebody has read it. Only the first acknowledgement counts."""
    _respond(state, as_json, lambda book, now_s: acknowledge(book, notice, actor(), now_s))


@app.command("snooze")
def snooze_(
    notice: Number,
    for_: Annotated[str, typer.Option("--for", help="How much later: 30m, 1h.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept in the book.")],
    state: State = DEFAULT_STATE,
    as_json: Json = False,
) -> None:
    """Move a notice's deadline later, within the policy's bounds."""
    try:
        for_s = parse_duration(for_)
    except ValueError as error:
        _fail(f"--for {error}", BAD_INPUT)
    if not reason.strip() or len(reason) > MAX_REASON_LENGTH or not reason.isprintable():
        _fail(f"--reason is one line of 1 to {MAX_REASON_LENGTH} characters", BAD_INPUT)
    _respond(
        state, as_json, lambda book, now_s: snooze(book, notice, for_s, reason, actor(), now_s)
    )


@app.command("test")
def send_test(
    startup: Annotated[str, typer.Argument(help="A startup of the program.")],
    state: State = DEFAULT_STATE,
    as_json: Json = False,
) -> None:
    """Send a test notice to every channel of a startup, to be acknowledged."""
    _respond(state, as_json, lambda book, now_s: send_test_notice(book, startup, actor(), now_s))


@app.command()
def secret(startup: Annotated[str, typer.Argument(help='A startup; "" for operators.')]) -> None:
    """Print the secret that signs a startup's webhooks, to be given to the startup."""
    try:
        settings = read_settings(os.environ)
    except SettingsError as error:
        _fail(str(error), BAD_INPUT)
    if not settings.webhook_secret:
        _fail("COHORTD_WEBHOOK_SECRET is not set, nor the credential webhook-secret", BAD_INPUT)
    typer.echo(settings.secret_of(startup))


def _respond(state: Address, as_json: bool, operator_action: Callable[[Book, int], Notice]) -> None:
    book = Book.open_existing(state)
    try:
        notice = operator_action(book, SystemClock().now_s())
        when_tested = last_tested_s(book, notice.startup)
    except Refused as refused:
        _fail(f"refused: {refused}", REFUSED)
    finally:
        book.close()
    row = _shown(notice)
    row["tested"] = None if when_tested is None else format_instant(when_tested)
    if as_json:
        print_json(row)
    else:
        by = row["acknowledged_by"] or "nobody yet"
        typer.echo(f"notice {row['id']}: due {row['deadline']}, acknowledged by {by}")


def _shown(notice: Notice) -> dict[str, Any]:
    """A notice with its text, and with its instants as text."""
    row = asdict(notice)
    shown = {name: value for name, value in row.items() if name not in ("facts", *INSTANTS)}
    shown["text"] = notice_text(notice)
    for name in INSTANTS:
        value = row[name]
        shown[name.removesuffix("_s")] = None if value is None else format_instant(value)
    return shown


def _fail(sentence: str, code: int) -> NoReturn:
    typer.echo(f"cohortd: {sentence}", err=True)
    raise typer.Exit(code)
