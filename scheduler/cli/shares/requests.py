"""The command `cohortd request`: ask for GPUs, list the queue, withdraw a request.

`cohortd request STARTUP POOL GPUS --for 2h` opens one; write `open` before it if a startup is
called list or withdraw.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from exporters.ctl.default_command import default_command
from quotas.book import Book
from quotas.book.actions.requests import (
    open_request,
    preview_request,
    read_requests,
    withdraw_request,
)
from quotas.config.schema import LONGEST_S
from quotas.ledger.corrections import Refused
from quotas.state.requests import RequestSpec
from scheduler.cli.actions import (
    REFUSED,
    DryRun,
    Key,
    Startup,
    check_printable,
    fail,
    parse_duration_option,
)
from scheduler.cli.options import DEFAULT_STATE, Json, State, actor, print_json
from scheduler.clock import SystemClock
from scheduler.views.status import request_line, status_of

Refusal = Annotated[
    str,
    typer.Option(help="quota: Scaleway refused the start for the organization's quota."),
]


def register(app: typer.Typer) -> None:
    """Add the command and its subcommands. A number of GPUs may begin with '-'."""
    group = typer.Typer(cls=default_command("open"), no_args_is_help=True)
    group.command("open", context_settings={"ignore_unknown_options": True})(open_command)
    group.command("list")(list_command)
    group.command("withdraw")(withdraw_command)
    app.add_typer(
        group, name="request", help="Ask for GPUs: STARTUP POOL GPUS --for 2h; list; withdraw ID."
    )


def open_command(
    startup: Startup,
    pool: Annotated[str, typer.Argument(help="A pool of the program.")],
    gpus: Annotated[int, typer.Argument(help="GPUs in all, those that run already among them.")],
    for_: Annotated[str, typer.Option("--for", help="How long, once they run: such as 2h.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept in the book.")] = "asked for",
    refused_for: Refusal = "",
    state: State = DEFAULT_STATE,
    dry_run: DryRun = False,
    as_json: Json = False,
    key: Key = None,
) -> None:
    """Ask for GPUs of a pool; the owner of lent quota gets it back in this way."""
    check_printable(reason, key)
    length_s = parse_duration_option("--for", for_, LONGEST_S)
    now_s = SystemClock().now_s()
    book = Book.open_existing(state)
    ask = RequestSpec(
        startup, pool, gpus, length_s, reason.strip(), actor(), now_s, key, refused_for
    )
    try:
        request = preview_request(book, ask) if dry_run else open_request(book, ask)
    except Refused as refused:
        fail(f"refused: {refused}", REFUSED)
    line = next((r for r in status_of(book, now_s)["requests"] if r["id"] == request.id), None)
    line = line or request_line(request)
    if as_json:
        print_json({**line, "dry_run": dry_run})
        return
    did = "would ask" if dry_run else f"request {request.id}: {startup} asks"
    typer.echo(f"{did} for {gpus} GPUs of {pool} for {for_}; {line.get('text', 'not written')}")


def list_command(
    state: State = DEFAULT_STATE,
    ended: Annotated[bool, typer.Option("--all", help="Those that are over, too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 100,
    as_json: Json = False,
) -> None:
    """Show each request, its position, what it waits for and when it can be fulfilled."""
    book = Book.open_existing(state)
    found: list[dict[str, Any]] = status_of(book, SystemClock().now_s())["requests"]
    if ended:
        live = {line["id"] for line in found}
        found += [request_line(r) for r in read_requests(book, limit) if r.id not in live]
    if as_json:
        print_json({"requests": found})
        return
    for line in found:
        typer.echo(
            f"{line['id']:>5} {line['startup']:24} {line['pool']:8} {line['gpus']:>4} GPUs "
            f"{line['state']:9} {line.get('text') or line['detail']}"
        )
    if not found:
        typer.echo("nobody waits: no request is open")


def withdraw_command(
    number: Annotated[int, typer.Argument(metavar="ID", help="Number of the request.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept in the book.")] = "no longer needed",
    state: State = DEFAULT_STATE,
    as_json: Json = False,
) -> None:
    """Withdraw a request: its GPUs no longer count as demand."""
    check_printable(reason, None)
    book = Book.open_existing(state)
    try:
        why = f"withdrawn by {actor()}: {reason.strip()}"
        request = withdraw_request(book, number, SystemClock().now_s(), why)
    except Refused as refused:
        fail(f"refused: {refused}", REFUSED)
    if as_json:
        print_json(request_line(request))
    else:
        typer.echo(f"request {number} of {request.startup} is withdrawn")
