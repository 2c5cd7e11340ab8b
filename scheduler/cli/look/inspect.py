"""Commands that read the book and show it: status, explain, verify."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from quotas.book import Book
from quotas.book.cycle.state import load_state
from quotas.book.reads.decisions import decision_from_row, intents_of, last_decisions
from quotas.book.transfers import rebuild_balances
from quotas.book.verify.verify import verify as verify_book
from quotas.ledger.chain_heads import hashes_in
from quotas.messages.explain import explain as explanation
from quotas.model.units import format_instant
from scheduler.cli import options
from scheduler.cli.commands import Answer, answer_command
from scheduler.cli.look.screen import past_lines, status_lines, watch_live
from scheduler.clock import SystemClock
from scheduler.views.status import status_of
from scheduler.views.status_at import status_at

app = typer.Typer()


@app.command()
def status(
    state: options.State = options.DEFAULT_STATE,
    as_of: options.AsOf = None,
    watch: Annotated[bool, typer.Option(help="Refresh every few seconds until ^C.")] = False,
    as_json: options.Json = False,
) -> None:
    """Show every startup: its level, GPUs, credits and runway; then requests and notices."""
    book, clock = Book.open_existing(state), SystemClock()
    if watch and as_of is None:
        watch_live(lambda: status_lines(status_of(book, clock.now_s())))
        return
    if as_of is None:
        found = status_of(book, clock.now_s())
        options.print_answer(found, status_lines(found), as_json=as_json)
    else:
        found = status_at(book, options.parse_instant_option("--as-of", as_of), clock.now_s())
        options.print_answer(found, past_lines(found), as_json=as_json)


@answer_command(app)
def explain(
    book: Book,
    subject: Annotated[str, typer.Argument(help="A startup, a server id or a decision number.")],
    limit: options.Limit = 10,
    as_of: options.AsOf = None,
) -> Answer:
    """Explain the newest decisions about a startup or a server, or one decision by its number."""
    now_s = SystemClock().now_s()
    found: list[Mapping[str, Any]] = []
    until_s = options.parse_past_instant(book, as_of)
    if subject.isdigit():
        found = last_decisions(book, 1, until_s, id=int(subject))
    for column in ("startup", "server_id"):
        found = found or last_decisions(book, limit, until_s, **{column: subject})
    shares, pace = [], None
    if as_of is None:
        status_now = status_of(book, now_s)
        shares = [share for share in status_now["shares"] if share["startup"] == subject]
        paces = [each["pace"] for each in status_now["startups"] if each["name"] == subject]
        pace = next(iter(paces), None)
    if not found and not shares and pace is None:
        options.fail(f"nothing was decided about {subject!r} yet", options.REFUSED)
    notices = load_state(book).notices
    rows = []
    for row in found:
        decision = decision_from_row(row)
        why = explanation(decision, row["at_s"], notices, now_s, intents_of(book, decision))
        names = ("reason", "inputs", "is_recomputed", "check", "counterfactual", "next_step")
        fields = {name: getattr(why, name) for name in (*names, "intents")}
        rows.append({**row, **fields, "changed_by": why.who_may_change_it})
    lines = [
        f"now: {share['reason']} It runs {share['usage']} and may run {share['ceiling']}."
        for share in shares
    ]
    if pace is not None:
        lines.append(f"pace: {pace['text']}")
    for row in rows:
        server = f" server {row['server_id']}" if row["server_id"] else ""
        lines.append(
            f"{row['id']}: {format_instant(row['at_s'])} {row['mode']} {row['verb']} "
            f"{row['startup']}{server}\n   because {row['reason']}\n"
            f"   rule {row['rule']}, inputs {json.dumps(row['inputs'])}\n"
            f"   {row['check']}\n   {row['counterfactual']}\n"
            + "".join(f"   {intent}\n" for intent in row["intents"])
            + f"   next: {row['next_step']}\n   to change it: {row['changed_by']}"
        )
    decisions = [{**row, "at": format_instant(row["at_s"])} for row in rows]
    answer = {"subject": subject, "shares": shares, "pace": pace, "decisions": decisions}
    return answer, lines


@app.command()
def verify(
    chain_head: Annotated[
        str | None,
        typer.Option(help="A chain head that was logged or mailed: its hash, or a file with it."),
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="First compute all balances again from the transfers.")
    ] = False,
    state: options.State = options.DEFAULT_STATE,
    as_json: options.Json = False,
) -> None:
    """Verify that nobody changed the book, and that its sums, charges and notices are right.

    It names the first fault, and exits with 1.

    With --chain-head it also verifies that nobody changed or
    removed a transfer before that chain head.
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
        options.print_json({"ok": verdict.fault is None, **asdict(verdict)})
    elif verdict.fault is None:
        typer.echo(f"{verdict.transfers} transfers are right")
        for cohort, head in sorted(verdict.chain_heads.items()):
            typer.echo(f"chain head of {cohort}: {head}")
    else:
        typer.echo(f"cohortd: the book is wrong: {verdict.fault}", err=True)
    if verdict.fault is not None:
        raise typer.Exit(options.REFUSED)


def _expected_hashes(chain_head: str) -> frozenset[str]:
    if not hashes_in(chain_head) and not Path(chain_head).is_file():
        options.fail(
            f"--chain-head {chain_head}: neither a hash of 64 hexadecimal digits nor a file"
        )
    found = hashes_in(chain_head) or hashes_in(options.read_text(Path(chain_head)))
    if not found:
        options.fail(f"--chain-head {chain_head}: no hash of 64 hexadecimal digits is in it")
    return found
