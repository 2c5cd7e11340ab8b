"""The command `cohortd demo`: six months of a cohort, watched live, then tied out."""

from __future__ import annotations

import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import structlog
import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from quotas.book import Book
from quotas.book.session import FILE_NAME
from quotas.messages.catalogue import decision_text
from quotas.messages.catalogue.requests import position_text
from quotas.model.units import DAY_S, format_credits, format_instant
from scheduler.cli.options import Json, fail, parse_duration_option, print_json
from scheduler.demo.endpoints import serve_endpoints
from scheduler.demo.lending import borrowed_and_lent
from scheduler.demo.rehearsal import Frame, Rehearsal, RehearsalResult
from scheduler.demo.tieout import TieOut, tie_out
from simulator.process import running

STARTS = "2027-01-04T23:00:00+00:00"
STARTS_S = 1_799_103_600
LATEST = 8
_HEADINGS = (
    "startup", "level", "GPUs", "borrowed", "lent", "credits left", "burn/h", "runs out"
)  # fmt: skip


app = typer.Typer()


@app.command()
def demo(
    seed: Annotated[int, typer.Option(help="The same seed simulates the same program.")] = 1,
    days: Annotated[int, typer.Option(min=1, max=730, help="Length of the cohort.")] = 183,
    poll: Annotated[str, typer.Option(help="Virtual time between cycles.")] = "3h",
    trace: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Demand from this trace (parquet or CSV)."),
    ] = None,
    keep: Annotated[Path | None, typer.Option(help="Keep the book in this folder.")] = None,
    stay: Annotated[bool, typer.Option(help="Keep the portal open afterwards, until ^C.")] = False,
    as_json: Json = False,
) -> None:
    """Simulate a whole program in minutes, and compare the charges with the servers' true use.

    The real cycle runs against a simulated Scaleway region, over HTTP.
    """
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    poll_s = parse_duration_option("--poll", poll, least="30s", most="1d")
    if stay and as_json:
        fail("--stay and --json: one keeps a page open, one ends; choose one")
    if keep is not None and (keep / FILE_NAME).exists():
        fail(f"--keep: {keep} holds a book already: name another folder")
    with ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="cohortd-demo-"))
        try:
            region = stack.enter_context(running(*_arguments(seed, days, trace)))
        except RuntimeError as error:  # the simulator wrote the cause to stderr
            fail(str(error))
        folder = keep or Path(scratch)
        book = Book.open(folder)
        stack.callback(book.close)
        rehearsal = Rehearsal(region, book, STARTS_S, days, poll_s)
        if not as_json:
            metrics, addresses = stack.enter_context(
                serve_endpoints(book, folder, [each.name for each in rehearsal.program.startups()])
            )
            rehearsal.publish = metrics.publish
            for line in addresses:
                typer.echo(line)
        played = _play_and_show(rehearsal, quiet=as_json)
        result = tie_out(book, played.program, played.catalogue, played.truth)
        if as_json:
            found = {**result.as_json(), **played.lending.as_json(), **played.scenarios.as_json()}
            print_json({**found, "seed": seed, "days": days, "cycles": played.cycles})
        else:
            _summary(result, played, keep)
        if stay:
            _stay(addresses)
    if not result.ok:
        raise typer.Exit(1)


def _stay(lines: Iterable[str]) -> None:
    for line in ("", *lines, "it stays open until you press ^C"):
        typer.echo(line)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        return


def _arguments(seed: int, days: int, trace: Path | None) -> list[str]:
    """The simulator's arguments; the rehearsal moves its clock."""
    listen = ["--listen", "127.0.0.1:0", "--clock", "controller"]
    length = ["--seed", str(seed), "--start", STARTS, "--days", str(days)]
    return [*listen, *length, *(["--trace", str(trace)] if trace else [])]


def _play_and_show(rehearsal: Rehearsal, *, quiet: bool) -> RehearsalResult:
    """Play, showing a live screen on a terminal, plain lines elsewhere, nothing if quiet."""
    if quiet:
        return rehearsal.play(lambda _: None)
    if not sys.stdout.isatty():
        return rehearsal.play(_plain_lines())
    latest: deque[str] = deque(maxlen=LATEST)
    with Live(refresh_per_second=8) as live:

        def watch(frame: Frame) -> None:
            latest.extend(_event_lines(frame))
            live.update(_screen(frame, latest))

        return rehearsal.play(watch)


def _plain_lines() -> Callable[[Frame], None]:
    """A line for each decision, and one for each week."""
    shown_week = -1

    def watch(frame: Frame) -> None:
        nonlocal shown_week
        for line in _event_lines(frame):
            typer.echo(line)
        week = (frame.now_s - frame.starts_s) // (7 * DAY_S)
        if week != shown_week:
            shown_week = week
            typer.echo(f"{format_instant(frame.now_s)} {frame.report.sentence}")

    return watch


def _event_lines(frame: Frame) -> list[str]:
    """A line for each decision, new request and finished scenario since the last cycle."""
    if frame.view is None:
        return []
    lines = [
        (decision.verb, decision.startup, decision_text(decision))
        for decision in frame.view.decisions
    ]
    for position in frame.view.status.requests:
        request = position.request
        if frame.earlier_s <= request.opened_s < frame.now_s:
            text = f"{request.gpus} GPUs of {request.pool}: {position_text(position)}"
            lines.append(("request", request.startup, text))
    when = format_instant(frame.now_s)
    return [
        *(f"{when} {verb:9} {startup}: {text}" for verb, startup, text in lines),
        *(f"{when} scenario  {line}" for line in frame.finished_scenarios),
    ]


def _screen(frame: Frame, latest: deque[str]) -> RenderableType:
    table = Table(expand=True)
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading in {"startup", "level"} else "right")
    for startup in frame.view.status.startups if frame.view else ():
        own = startup.balance
        left = f"{(own.posted_ucr - own.accrued_ucr) // 1_000_000:,}"
        empty = format_instant(own.exhausted_s)[:16] if own.exhausted_s else "-"
        burn = format_credits(own.burn_ucr_per_h)
        flows = [str(gpus) for gpus in borrowed_and_lent(frame.view, startup.name)]
        table.add_row(startup.name, startup.level, str(startup.gpus), *flows, left, burn, empty)
    done, total = frame.now_s - frame.starts_s, frame.ends_s - frame.starts_s
    return Group(
        Text(f"{format_instant(frame.now_s)}  {frame.report.sentence}"),
        table,
        Text("\n".join(latest)),
        ProgressBar(total=total, completed=min(done, total)),
    )


def _summary(result: TieOut, played: RehearsalResult, keep: Path | None) -> None:
    typer.echo("")
    typer.echo(f"{'startup':20} {'charged':>16} {'simulator':>16} {'difference':>14} {'bound':>14}")
    for name, (charged, true, bound) in result.startups.items():
        typer.echo(
            f"{name:20} {format_credits(charged):>16} {format_credits(true):>16} "
            f"{format_credits(charged - true):>14} {format_credits(bound):>14}"
        )
    typer.echo(
        f"\ngranted {format_credits(result.granted_ucr)} + overdraft "
        f"{format_credits(result.overdraft_ucr)} = charged {format_credits(result.charged_ucr)} "
        f"+ settled {format_credits(result.settled_ucr)} + held {format_credits(result.held_ucr)} "
        f"+ left {format_credits(result.left_ucr)} + expired {format_credits(result.expired_ucr)}: "
        f"{'exact' if result.conserves else 'WRONG'}"
    )
    typer.echo(f"charges within the recorded bounds: {'yes' if result.matches else 'NO'}")
    if result.overdraft_ucr:
        typer.echo("overdraft: what servers used after the credits, until their notice ended")
    unconfirmed = format_credits(result.unconfirmed_ucr)
    typer.echo(f"unconfirmed, until Scaleway's bill decides: {unconfirmed}")
    typer.echo(f"book: {'verified' if result.fault is None else result.fault}")
    for line in (*played.lending.lines(), *played.scenarios.lines()):
        typer.echo(line)
    typer.echo(f"{played.cycles} cycles in {played.wall_seconds:.0f} s of wall time")
    if keep is not None:
        typer.echo(f"the book stays: cohortd status --state {keep}")
