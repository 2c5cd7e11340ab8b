"""The commands that read: credits, usage, servers, quota, explain, statement, events."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from exporters.ctl import formatting
from exporters.ctl.api import BAD_INPUT, REFUSED, ApiError
from exporters.ctl.runner import Json, Watch, connect, show, to_json_text
from quotas.model.units import format_credits, parse_credits

if TYPE_CHECKING:
    from exporters.ctl.client import Client

POLL_S = 25


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (credits, usage, servers, quota, explain, statement, events):
        app.command()(command)


def credits(
    need: Annotated[
        str | None, typer.Option(help="Exit with 1 if fewer credits are available.")
    ] = None,
    as_json: Json = False,
    watch: Watch = False,
) -> None:
    """Show the credits left, the burn and the runway."""
    try:
        needed_ucr = None if need is None else parse_credits(need)
    except ValueError as error:
        raise ApiError(f"--need: {error}", BAD_INPUT) from None
    found = show("credits", formatting.credits_text, as_json=as_json, watch=watch)
    short_ucr = 0 if needed_ucr is None else needed_ucr - parse_credits(found["available"])
    if short_ucr > 0:
        short = f"{format_credits(short_ucr)} less than the {need} needed"
        raise ApiError(f"{found['available']} credits are available, {short}", REFUSED)


def usage(as_json: Json = False, watch: Watch = False) -> None:
    """Show the GPUs that run now, by pool, and their cost."""
    show("usage", formatting.usage_text, as_json=as_json, watch=watch)


def servers(as_json: Json = False, watch: Watch = False) -> None:
    """Show every billable server, its cost, and when it will be stopped."""
    show("servers", formatting.servers_text, as_json=as_json, watch=watch)


def quota(as_json: Json = False, watch: Watch = False) -> None:
    """Show nominal, share and ceiling in each pool, and what limits them."""
    show("quota", formatting.quota_text, as_json=as_json, watch=watch)


def explain(
    decision: Annotated[
        int, typer.Argument(min=1, help="The number of a decision, from 'events'.")
    ],
    as_json: Json = False,
) -> None:
    """Explain a decision: its inputs, and what would change it."""
    path = f"decisions/{decision}/explanation"
    show(path, formatting.explanation_text, as_json=as_json)


def statement(
    month: Annotated[
        str | None, typer.Argument(help="A UTC month such as 2027-01; without it, every month.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the lines as CSV.")] = False,
    as_json: Json = False,
) -> None:
    """Show the months, or one month line by line."""
    if month is None:
        if as_csv:
            raise ApiError("--csv is of one month: name it, such as 2027-01", BAD_INPUT)
        show("statements", formatting.statements_text, as_json=as_json)
        return
    if not month.replace("-", "").isdigit():
        raise ApiError(f"{month!r} is no month; write it as 2027-01", BAD_INPUT)
    path = f"statements/{month}"
    if as_csv:
        typer.echo(connect().text(path, format="csv"), nl=False)
    else:
        show(path, formatting.statement_text, as_json=as_json)


def events(
    since: Annotated[str, typer.Option(help="A cursor: the `next` of an earlier page.")] = "0-0",
    as_json: Json = False,
    watch: Watch = False,
) -> None:
    """Show decisions and notices, oldest first; --watch waits for new ones.

    With --watch, --json prints one event a line.
    """
    client = connect()
    items, cursor = _events_until_now(client, since)
    if as_json and not watch:
        typer.echo(to_json_text({"items": items, "next": cursor}))
        return
    while True:
        for event in items:
            typer.echo(json.dumps(event) if as_json else formatting.event_text(event))
        if not watch:
            return
        page = client.get("events", POLL_S, cursor=cursor)
        items, cursor = page["items"], page["next"]


def _events_until_now(client: Client, cursor: str) -> tuple[list[Any], str]:
    items: list[Any] = []
    while True:
        page = client.get("events", cursor=cursor, limit=200)
        items += page["items"]
        if not page["items"]:
            return items, cursor
        cursor = str(page["next"])
