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
from quotas.state.requests import RequestSpec
from scheduler.cli import options
from scheduler.cli.commands import NEGATIVE_NUMBERS, Answer, answer_command, check_key
from scheduler.clock import SystemClock
from scheduler.views.status import request_line, status_of

app = typer.Typer(
    name="request",
    cls=default_command("open"),
    no_args_is_help=True,
    help="Request GPUs of a pool, list the queue, or withdraw a request.",
)


@answer_command(app, "open", NEGATIVE_NUMBERS)
def open_command(
    book: Book,
    startup: options.Startup,
    pool: Annotated[str, typer.Argument(help="A pool of the program.")],
    gpus: Annotated[int, typer.Argument(help="GPUs in all, including those that run already.")],
    for_: Annotated[str, typer.Option("--for", help="How long they are needed: 2h, 3d.")],
    reason: options.Reason = "asked for",
    refused_for: Annotated[
        str, typer.Option(help="'quota' if Scaleway's quota of the organization is too low.")
    ] = "",
    dry_run: options.DryRun = False,
    key: options.Key = None,
) -> Answer:
    """Request GPUs of a pool. A startup that lent its quota gets it back this way."""
    why = options.parse_reason(reason)
    check_key(key)
    length_s, now_s = options.parse_duration_option("--for", for_), SystemClock().now_s()
    ask = RequestSpec(startup, pool, gpus, length_s, why, options.actor(), now_s, key, refused_for)
    request = preview_request(book, ask) if dry_run else open_request(book, ask)
    line = next((r for r in status_of(book, now_s)["requests"] if r["id"] == request.id), None)
    line = line or request_line(request)
    did = "would ask" if dry_run else f"request {request.id}: {startup} asks"
    sentence = f"{did} for {gpus} GPUs of {pool} for {for_}; {line.get('text', 'not written')}"
    return {**line, "dry_run": dry_run}, [sentence]


@answer_command(app, "list")
def list_command(
    book: Book,
    ended: Annotated[bool, typer.Option("--all", help="Also those that have ended.")] = False,
    limit: options.Limit = 100,
) -> Answer:
    """List the requests: position, what each waits for, and when it can be fulfilled."""
    found: list[dict[str, Any]] = status_of(book, SystemClock().now_s())["requests"]
    if ended:
        live = {line["id"] for line in found}
        found += [request_line(r) for r in read_requests(book, limit) if r.id not in live]
    lines = [
        f"{line['id']:>5} {line['startup']:24} {line['pool']:8} {line['gpus']:>4} GPUs "
        f"{line['state']:9} {line.get('text') or line['detail']}"
        for line in found
    ]
    return {"requests": found}, lines or ["no request is open"]


@answer_command(app, "withdraw")
def withdraw_command(
    book: Book,
    number: Annotated[int, typer.Argument(metavar="ID", help="Number of the request.")],
    reason: options.Reason = "no longer needed",
) -> Answer:
    """Withdraw a request. Its GPUs no longer count as demand."""
    why = f"withdrawn by {options.actor()}: {options.parse_reason(reason)}"
    request = withdraw_request(book, number, SystemClock().now_s(), why)
    return request_line(request), [f"request {number} of {request.startup} is withdrawn"]
