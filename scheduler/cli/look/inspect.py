"""Commands that read the book and show it: status, explain, verify."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from quotas.book import Book
from quotas.book.cycle.state import load_state
from quotas.book.reads.decisions import decision_from_row, intents_of, last_decisions
from quotas.book.reads.history import InstantNotKnown
from quotas.book.transfers import rebuild_balances
from quotas.book.verify.verify import verify as verify_book
from quotas.ledger.chain_heads import hashes_in
from quotas.messages.explain import explain as explanation
from quotas.model.units import format_instant
from quotas.state.notices import Notice
from scheduler.cli.actions import BAD_INPUT, REFUSED, fail, parse_instant_option
from scheduler.cli.as_of import AsOf, parse_past_instant
from scheduler.cli.look.screen import status_lines, watch_live
from scheduler.cli.options import DEFAULT_STATE, Json, State, print_json, read_text
from scheduler.clock import SystemClock
from scheduler.views.status import status_of
from scheduler.views.status_at import status_at


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (status, explain, verify):
        app.command()(command)


def status(
    state: State = DEFAULT_STATE,
    as_of: AsOf = None,
    watch: Annotated[bool, typer.Option(help="Refresh it every few seconds, until ^C.")] = False,
    as_json: Json = False,
) -> None:
    """Show every startup: credits left, burn, runway, GPUs, level; zones and open notices."""
    clock = SystemClock()
    if as_of is not None:
        asked_s = parse_instant_option("--as-of", as_of)
        _past(Book.open_existing(state), asked_s, clock.now_s(), as_json=as_json)
        return
    if watch:
        book = Book.open_existing(state)
        watch_live(lambda: status_lines(status_of(book, clock.now_s())))
        return
    found = status_of(Book.open_existing(state), clock.now_s())
    if as_json:
        print_json(found)
        return
    for line in status_lines(found):
        typer.echo(line)


def _past(book: Book, as_of_s: int, now_s: int, *, as_json: bool) -> None:
    """Show the credits of every startup at a past instant."""
    try:
        found = status_at(book, as_of_s, now_s)
    except InstantNotKnown as refused:
        fail(str(refused), REFUSED)
    if as_json:
        print_json(found)
        return
    typer.echo(found["sentence"])
    names = ("posted", "accrued", "held", "reserve", "available", "unconfirmed")
    typer.echo(f"{'startup':24} {'GPUs':>5}" + "".join(f" {name:>16}" for name in names))
    for line in found["startups"]:
        amounts = "".join(f" {line[name]:>16}" for name in names)
        typer.echo(f"{line['name']:24} {line['gpus']:>5}{amounts}")


def explain(
    subject: Annotated[str, typer.Argument(help="A startup, a server id or a decision number.")],
    state: State = DEFAULT_STATE,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 10,
    as_of: AsOf = None,
    as_json: Json = False,
) -> None:
    """Explain the newest decisions about a startup or a server, or one decision, with inputs."""
    book = Book.open_existing(state)
    found: list[Mapping[str, Any]] = []
    until_s = None if as_of is None else parse_past_instant(book, as_of)
    if subject.isdigit():
        found = last_decisions(book, 1, until_s, id=int(subject))
    for column in ("startup", "server_id"):
        found = found or last_decisions(book, limit, until_s, **{column: subject})
    shares, pace = (
        ([], None)
        if as_of
        else _current_shares_and_pace(status_of(book, SystemClock().now_s()), subject)
    )
    if not found and not shares and pace is None:
        typer.echo(f"cohortd: nothing was decided about {subject!r} yet", err=True)
        raise typer.Exit(REFUSED)
    current = load_state(book)
    rows = [_explained(book, row, current.notices) for row in found]
    if as_json:
        decisions = [{**row, "at": format_instant(row["at_s"])} for row in rows]
        print_json({"subject": subject, "shares": shares, "pace": pace, "decisions": decisions})
        return
    for share in shares:
        typer.echo(
            f"now: {share['reason']} It runs {share['usage']} and may run {share['ceiling']}."
        )
    if pace is not None:
        typer.echo(f"pace: {pace['text']}")
    for row in rows:
        server = f" server {row['server_id']}" if row["server_id"] else ""
        typer.echo(
            f"{row['id']}: {format_instant(row['at_s'])} {row['mode']} {row['verb']} "
            f"{row['startup']}{server}\n   because {row['reason']}\n"
            f"   rule {row['rule']}, inputs {json.dumps(row['inputs'])}\n"
            f"   {row['check']}\n   {row['counterfactual']}\n"
            + "".join(f"   {intent}\n" for intent in row["intents"])
            + f"   next: {row['next_step']}\n   to change it: {row['changed_by']}"
        )


def _current_shares_and_pace(
    found: Mapping[str, Any], subject: str
) -> tuple[list[Mapping[str, Any]], Mapping[str, Any] | None]:
    """A startup's shares and its pace now; empty for another subject."""
    shares = [share for share in found["shares"] if share["startup"] == subject]
    paces = [line["pace"] for line in found["startups"] if line["name"] == subject]
    return shares, next(iter(paces), None)


def _explained(book: Book, row: Mapping[str, Any], notices: Iterable[Notice]) -> dict[str, Any]:
    decision = decision_from_row(row)
    found = explanation(
        decision, row["at_s"], notices, SystemClock().now_s(), intents_of(book, decision)
    )
    return {
        **row,
        "reason": found.reason,
        "is_recomputed": found.is_recomputed,
        "check": found.check,
        "counterfactual": found.counterfactual,
        "next_step": found.next_step,
        "changed_by": found.who_may_change_it,
        "intents": found.intents,
    }


def verify(
    chain_head: Annotated[
        str | None,
        typer.Option(help="A hash, or a file with one: a chain head that was logged or mailed."),
    ] = None,
    rebuild: Annotated[
        bool,
        typer.Option("--rebuild", help="First make every balance again from the transfers."),
    ] = False,
    state: State = DEFAULT_STATE,
    as_json: Json = False,
) -> None:
    """Check the book against itself: chain, sums, charges, statements, notices; exit 1: the fault.

    With --chain-head it also checks that no transfer before that chain head was changed or
    removed. With --rebuild it first drops the balances and computes them again.
    """
    book = Book.open_existing(state)
    expected_heads = frozenset[str]() if chain_head is None else _expected_hashes(chain_head)
    if rebuild:
        with book.writing() as connection:
            rebuild_balances(connection)
    columns = (SpinnerColumn(), TextColumn("{task.completed} transfers checked"))
    console = Console(stderr=True)
    silent = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=silent) as progress:
        task = progress.add_task("verify", total=None)
        verdict = verify_book(
            book, lambda done: progress.update(task, completed=done), expected_heads
        )
    if as_json:
        print_json(
            {
                "ok": verdict.fault is None,
                "fault": verdict.fault,
                "chain_heads": verdict.chain_heads,
                "transfers": verdict.transfers,
            }
        )
    elif verdict.fault is None:
        typer.echo(f"{verdict.transfers} transfers are right")
        for cohort, head in sorted(verdict.chain_heads.items()):
            typer.echo(f"chain head of {cohort}: {head}")
    else:
        typer.echo(f"cohortd: the book is wrong: {verdict.fault}", err=True)
    if verdict.fault is not None:
        raise typer.Exit(REFUSED)


def _expected_hashes(chain_head: str) -> frozenset[str]:
    """The hashes in the option itself, or in the file of that name."""
    if not hashes_in(chain_head) and not Path(chain_head).is_file():
        fail(
            f"--chain-head {chain_head}: neither a hash of 64 hexadecimal digits nor a file",
            BAD_INPUT,
        )
    found = hashes_in(chain_head) or hashes_in(read_text(Path(chain_head)))
    if not found:
        fail(f"--chain-head {chain_head}: no hash of 64 hexadecimal digits is in it", BAD_INPUT)
    return found
