"""Commands that set cohortd up and run it: init, check, plan, apply, run."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import socket
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import structlog
import typer

from exporters.heartbeat import Heartbeat
from exporters.metrics import Metrics, MetricsServer
from exporters.notify.deliver import Deliverer
from exporters.notify.settings import Settings, SettingsError, read_settings
from quotas.book import Address, Book, BookError
from quotas.book.actions.grant_terms import check_program_grants
from quotas.book.cycle.commit import apply_program
from quotas.book.cycle.state import load_state
from quotas.config.diff import Change, diff
from quotas.config.load import parse_program
from quotas.messages.catalogue.rules import override_text
from quotas.state.overrides import EVERYONE, Overrides
from scheduler.checks.check import Check, run_checks
from scheduler.checks.first_file import first_program_file
from scheduler.checks.permissions import permission_checks
from scheduler.cli import options
from scheduler.cli.connections import connect, connect_permissions, log_to_stderr
from scheduler.clock import SystemClock
from scheduler.config import ConfigError, heartbeat_url
from scheduler.cycle import Cycle
from scheduler.jobs.deliver import DeliveryWorker
from scheduler.jobs.inbox import InboxDrain, InboxReader, inbox_worker
from scheduler.jobs.maintenance import (
    HEARTBEAT_EVERY_S,
    MaintenanceJob,
    bypass_job,
    verification_job,
)
from scheduler.jobs.publisher import publisher
from scheduler.jobs.worker import Worker
from scheduler.leadership import LOCK_NAME, HostLock
from scheduler.loop import Loop, handle_signals, sd_notify
from scheduler.timing import Timing

log = structlog.get_logger()


app = typer.Typer()


@app.command()
def init(program: options.ProgramFile = options.DEFAULT_PROGRAM) -> None:
    """Write a first program file from the organization's projects and running servers."""
    if program.exists():
        options.fail(f"{program} is there already: name another with --program")
    text = first_program_file(connect(), SystemClock().now_s())
    try:
        program.write_text(text, encoding="utf-8")
    except OSError as error:
        options.fail(f"--program {program}: {error.strerror}")
    typer.echo(f"{program} written: set dates, grants and quotas, then 'cohortd plan'")


@app.command()
def check(
    state: options.State = options.DEFAULT_STATE,
    program: options.ProgramFile = options.DEFAULT_PROGRAM,
    as_json: options.Json = False,
) -> None:
    """Check the program file, both keys, permissions, prices, the clock and the disk.

    Each check prints one line. A failed check prints its fix, and exits with 1.
    """
    try:
        # Ask the nearest folder that exists, because a check creates nothing.
        there = next(
            each for each in (state.folder, *state.folder.resolve().parents) if each.exists()
        )
        if not there.is_dir():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        free = shutil.disk_usage(there).free
    except OSError as error:
        options.fail(f"--state {state.folder}: {error.strerror}")
    text, now_s = options.read_text(program), SystemClock().now_s()
    found = [*_book_check(state), *run_checks(connect, text, str(program), free, now_s)]
    found += permission_checks(connect_permissions, text, str(program), now_s)
    lines = (
        f"{'ok ' if each.ok else 'NO '} {each.name}: {each.detail}"
        + ("" if each.ok else f"\n     fix: {each.fix}")
        for each in found
    )
    options.print_answer([asdict(each) for each in found], lines, as_json=as_json)
    if not all(each.ok for each in found):
        raise typer.Exit(1)


def _book_check(state: Address) -> Iterable[Check]:
    """Whether the database is reachable; the disk of a SQLite book is another check."""
    if state.file is None:
        try:
            there = "a book is there" if Book.exists_at(state) else "no book is there yet"
            yield Check("database", True, f"{state.book}: {there}")
        except BookError as error:
            fix = "let this host reach it (docs/install.md, PostgreSQL), and try again"
            yield Check("database", False, str(error), fix)


@app.command()
def plan(
    state: options.State = options.DEFAULT_STATE,
    program: options.ProgramFile = options.DEFAULT_PROGRAM,
    as_json: options.Json = False,
) -> None:
    """Show the changes that 'cohortd apply' would make. Nothing is changed."""
    changes = _changes(state, program)
    lines = [
        f"{'!' if change.needs_confirmation else ' '} {change.path}: "
        f"{change.before} -> {change.after}  {change.reason}"
        for change in changes
    ]
    lines.append(f"{len(changes)} changes; '!' needs --confirm with the program's name")
    options.print_answer([asdict(change) for change in changes], lines, as_json=as_json)


@app.command()
def apply(
    state: options.State = options.DEFAULT_STATE,
    program: options.ProgramFile = options.DEFAULT_PROGRAM,
    confirm: Annotated[
        str, typer.Option(help="The program's name, to confirm the changes that 'plan' marks '!'.")
    ] = "",
    as_json: options.Json = False,
) -> None:
    """Put the program file in force as a new version. Each new grant is posted once."""
    changes = _changes(state, program)
    parsed = parse_program(options.read_text(program), str(program))
    if confirm != parsed.name:
        _refuse_risky(changes, f"add --confirm {parsed.name}")
    book = Book.open(state)
    version = apply_program(book, parsed, SystemClock().now_s(), options.actor())
    if as_json:
        options.print_json({"version": version, "changes": [asdict(change) for change in changes]})
        return
    typer.echo(f"{parsed.name}: version {version} is in force, {len(changes)} changes")
    overrides = Overrides(load_state(book).enforcement.overrides, SystemClock().now_s())
    override = overrides.on("mode", EVERYONE)
    if override is not None and override.value != parsed.mode != "off":
        change = "disarm" if override.value == "enforce" else "arm"
        typer.echo(
            f"note: the file says {parsed.mode}, but {override.value} is in force: "
            f"{override_text(override.facts)}; 'cohortd {change}' changes that"
        )


def _refuse_risky(changes: Iterable[Change], fix: str) -> None:
    """End the command where a change needs the operator's confirmation."""
    risky = ", ".join(change.path for change in changes if change.needs_confirmation)
    if risky:
        harm = "would stop servers, lower a share in use, loosen a bound or restore earlier credits"
        options.fail(f"refused: {risky} {harm}: {fix}", options.REFUSED)


def _changes(state: Address, program: Path) -> tuple[Change, ...]:
    new = parse_program(options.read_text(program), str(program))
    if not Book.exists_at(state):
        return diff(None, new, {})
    book = Book.open_existing(state)
    current, now_s = load_state(book), SystemClock().now_s()
    usage: dict[str, Counter[str]] = defaultdict(Counter)
    for each in current.runs:
        if each.end_s is None:
            usage[each.startup][each.flavor] += each.gpus
    changes = diff(current.program, new, usage, Overrides(current.enforcement.overrides, now_s))
    if changes:
        with book.reading() as connection:
            check_program_grants(connection, new, now_s)
    return changes


@app.command()
def run(
    state: options.State = options.DEFAULT_STATE,
    listen: Annotated[str, typer.Option(help="The host:port of /metrics.")] = "127.0.0.1:9464",
    program: Annotated[
        Path | None, typer.Option(help="Apply this file first. It must need no --confirm.")
    ] = None,
    cycle: Annotated[str, typer.Option(help="Time between cycles, 1s to 30s.")] = "30s",
) -> None:
    """Run the daemon until SIGTERM: it meters, charges, decides and stops servers."""
    log_to_stderr(as_json=not sys.stderr.isatty())
    host, port = options.parse_address(listen)
    timing = Timing(cycle_s=options.parse_cycle(cycle))
    clock, metrics = SystemClock(), Metrics(state.file)
    cloud = connect(metrics.request)
    book = Book.open(state)
    if program is not None:
        parsed = parse_program(options.read_text(program), str(program))
        if load_state(book).program is not None:
            # A restart confirms nothing, so it makes no change that `apply` asks to confirm.
            fix = f"apply it with 'cohortd apply --confirm {parsed.name}' first"
            _refuse_risky(_changes(state, program), fix)
        apply_program(book, parsed, clock.now_s(), options.actor())
    in_force = load_state(book).program
    if in_force is not None:
        # Another host may have applied it: refuse here, or each cycle would fail for this reason.
        ZoneInfo(in_force.timezone)
    inbox = InboxReader(state.folder)
    drain = InboxDrain(book, inbox)
    cycle_runner = Cycle(
        cloud=cloud,
        book=book,
        clock=clock,
        # Random, too: containers on two hosts may share a name and both be process 1.
        holder=f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}",
        timing=timing,
        publish=metrics.publish,
        permissions=connect_permissions(metrics.request),
        drain_inbox=drain,
        # On PostgreSQL another host may lead, and only this process can read its inbox.
        on_standby=drain if state.file is None else lambda _now_s: 0,
        host_lock=None if state.file is None else HostLock(state.folder / LOCK_NAME),
    )
    deliverer = Deliverer(_delivery_settings())
    workers = [publisher(book, state, clock), inbox_worker(inbox)]
    loop = _loop(cycle_runner, metrics, deliverer, state, workers)
    handle_signals(loop, lambda: _reload(cycle_runner, metrics, deliverer))
    try:
        server = MetricsServer(metrics, host, port)
    except OSError as error:
        options.fail(f"--listen {host}:{port}: {error.strerror}")
    server.start()
    log.info("daemon.started", metrics=server.address, book=str(state))
    try:
        loop.run()
    finally:
        server.close()
        book.close()
    log.info("daemon.stopped")


def _loop(
    cycle_runner: Cycle,
    metrics: Metrics,
    deliverer: Deliverer,
    state: Address,
    workers: Iterable[Worker],
) -> Loop:
    """The loop of cycles, with deliveries and maintenance beside it."""
    book, clock = cycle_runner.book, cycle_runner.clock
    deliveries = DeliveryWorker(
        book=book, clock=clock, lease=lambda: cycle_runner.lease, deliver=deliverer, metrics=metrics
    )
    maintenance = [
        verification_job(state, metrics.verified),
        bypass_job(book, clock, lambda: cycle_runner.permissions, metrics.bypasses),
    ]
    url = heartbeat_url()
    heartbeat = Heartbeat(url) if url else None
    if heartbeat is not None:
        maintenance.append(MaintenanceJob("heartbeat", HEARTBEAT_EVERY_S, heartbeat.run))

    def on_cycle(outcome: str, seconds: float, at_s: int) -> None:
        metrics.cycle(outcome, seconds, at_s)
        if heartbeat is not None:
            heartbeat.cycle(outcome)

    return Loop(
        cycle_runner,
        on_cycle=on_cycle,
        on_missed=metrics.missed,
        ping=sd_notify,
        deliveries=deliveries,
        maintenance=maintenance,
        workers=workers,
    )


def _delivery_settings() -> Settings:
    try:
        return read_settings(os.environ)
    except (SettingsError, OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(error)) from None


def _reload(cycle_runner: Cycle, metrics: Metrics, deliverer: Deliverer) -> None:
    """Read the connection settings again; invalid ones leave the old ones in force."""
    try:
        deliverer.settings = _delivery_settings()
        cycle_runner.reconnect(connect(metrics.request), connect_permissions(metrics.request))
    except (ConfigError, ValueError) as error:
        log.error("settings.refused", error=str(error))
    else:
        log.info("settings.reloaded")
