"""Commands that set cohortd up and run it: init, check, plan, apply, run."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

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
from scheduler.cli.options import (
    DEFAULT_STATE,
    Json,
    ProgramFile,
    State,
    actor,
    connect,
    connect_permissions,
    cycle_s,
    log_to_stderr,
    parse_address,
    print_json,
    read_text,
)
from scheduler.clock import SystemClock
from scheduler.config import ConfigError, heartbeat_url
from scheduler.cycle import Cycle
from scheduler.jobs.deliver import DeliveryWorker
from scheduler.jobs.inbox import InboxDrain
from scheduler.jobs.maintenance import (
    HEARTBEAT_EVERY_S,
    MaintenanceJob,
    bypass_job,
    verification_job,
)
from scheduler.loop import Loop, handle_signals, sd_notify
from scheduler.timing import Timing

log = structlog.get_logger()


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (init, check, plan, apply, run):
        app.command()(command)


def init(program: ProgramFile = Path("program.toml")) -> None:
    """Write a program file from the organization's projects and running servers."""
    if program.exists():
        raise typer.BadParameter(f"{program} is there already: name another with --program")
    text = first_program_file(connect(), SystemClock().now_s())
    try:
        program.write_text(text, encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"--program {program}: {error.strerror}") from None
    typer.echo(f"{program} written: set dates, grants and quotas, then 'cohortd plan'")


def check(
    state: State = DEFAULT_STATE, program: ProgramFile = Path("program.toml"), as_json: Json = False
) -> None:
    """Check program, key, permissions, prices, clock and disk: a line and a fix each."""
    try:
        # Ask the nearest folder that exists, because a check creates nothing.
        there = next(
            each for each in (state.folder, *state.folder.resolve().parents) if each.exists()
        )
        if not there.is_dir():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        free = shutil.disk_usage(there).free
    except OSError as error:
        raise typer.BadParameter(f"--state {state.folder}: {error.strerror}") from None
    text, now_s = read_text(program), SystemClock().now_s()
    found = [*_book_check(state), *run_checks(connect, text, str(program), free, now_s)]
    found += permission_checks(connect_permissions, text, str(program), now_s)
    if as_json:
        print_json([{"name": c.name, "ok": c.ok, "detail": c.detail, "fix": c.fix} for c in found])
    for each in [] if as_json else found:
        typer.echo(f"{'ok ' if each.ok else 'NO '} {each.name}: {each.detail}")
        if not each.ok:
            typer.echo(f"     fix: {each.fix}")
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


def plan(
    state: State = DEFAULT_STATE, program: ProgramFile = Path("program.toml"), as_json: Json = False
) -> None:
    """Show what applying the program file would change; change nothing."""
    changes = _changes(state, program)
    if as_json:
        print_json([_change(change) for change in changes])
        return
    for change in changes:
        mark = "!" if change.needs_confirm else " "
        typer.echo(f"{mark} {change.path}: {change.before} -> {change.after}  {change.why}")
    typer.echo(f"{len(changes)} changes; '!' needs --confirm with the program's name")


def apply(
    state: State = DEFAULT_STATE,
    program: ProgramFile = Path("program.toml"),
    confirm: Annotated[str, typer.Option(help="The program's name, for '!' changes.")] = "",
    as_json: Json = False,
) -> None:
    """Put the program file in force: a new version in the book, each grant posted once."""
    changes = _changes(state, program)
    parsed = parse_program(read_text(program), str(program))
    if confirm != parsed.name:
        _refuse_risky(changes, f"add --confirm {parsed.name}")
    book = Book.open(state)
    version = apply_program(book, parsed, SystemClock().now_s(), actor())
    if as_json:
        print_json({"version": version, "changes": [_change(change) for change in changes]})
    else:
        typer.echo(f"{parsed.name}: version {version} is in force, {len(changes)} changes")
        override = Overrides(load_state(book).enforcement.overrides, SystemClock().now_s()).on(
            "mode", EVERYONE
        )
        if override is not None and override.value != parsed.mode != "off":
            typer.echo(
                f"note: the file says {parsed.mode}, and {override.value} is in force: "
                f"{override_text(override.facts)}; "
                f"'cohortd {'disarm' if override.value == 'enforce' else 'arm'}' changes that"
            )


def _refuse_risky(changes: Iterable[Change], fix: str) -> None:
    """End the command where a change needs the operator's confirmation."""
    risky = [change.path for change in changes if change.needs_confirm]
    if risky:
        typer.echo(
            f"cohortd: refused: {', '.join(risky)} would stop servers, lower a share in use or "
            f"loosen a bound: {fix}",
            err=True,
        )
        raise typer.Exit(1)


def _changes(state: Address, program: Path) -> tuple[Change, ...]:
    new = parse_program(read_text(program), str(program))
    if not Book.exists_at(state):
        return diff(None, new, {})
    book = Book.open_existing(state)
    current, now_s = load_state(book), SystemClock().now_s()
    usage: dict[str, dict[str, int]] = {}
    for each in current.runs:
        if each.end_s is None:
            own = usage.setdefault(each.startup, {})
            own[each.flavor] = own.get(each.flavor, 0) + each.gpus
    changes = diff(current.program, new, usage, Overrides(current.enforcement.overrides, now_s))
    if changes:
        with book.reading() as connection:
            check_program_grants(connection, new, now_s)
    return changes


def _change(change: Change) -> dict[str, object]:
    return {
        "path": change.path,
        "before": change.before,
        "after": change.after,
        "needs_confirmation": change.needs_confirm,
        "reason": change.why,
    }


def run(
    state: State = DEFAULT_STATE,
    listen: Annotated[str, typer.Option(help="host:port of /metrics.")] = "127.0.0.1:9464",
    program: Annotated[
        Path | None, typer.Option(help="Apply this file first, if it needs no --confirm.")
    ] = None,
    cycle: Annotated[str, typer.Option(help="Time between cycles, 1s to 30s.")] = "30s",
) -> None:
    """Run the daemon until SIGTERM: observe, meter, charge, decide, act."""
    log_to_stderr(as_json=not sys.stderr.isatty())
    host, port = parse_address(listen)
    timing = Timing(cycle_s=cycle_s(cycle))
    clock, metrics = SystemClock(), Metrics(state.file)
    cloud = connect(metrics.request)
    book = Book.open(state)
    if program is not None:
        parsed = parse_program(read_text(program), str(program))
        if load_state(book).program is not None:
            # A restart confirms nothing, so it makes no change that `apply` asks to confirm.
            fix = f"apply it with 'cohortd apply --confirm {parsed.name}' first"
            _refuse_risky(_changes(state, program), fix)
        apply_program(book, parsed, clock.now_s(), actor())
    drain = InboxDrain(book, state.folder)
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
    )
    deliverer = Deliverer(_delivery_settings())
    loop = _loop(cycle_runner, metrics, deliverer, state)
    handle_signals(loop, lambda: _reload(cycle_runner, metrics, deliverer))
    server = _serve(metrics, host, port)
    log.info("daemon.started", metrics=server.address, book=str(state))
    try:
        loop.run()
    finally:
        server.close()
        book.close()
    log.info("daemon.stopped")


def _serve(metrics: Metrics, host: str, port: int) -> MetricsServer:
    try:
        server = MetricsServer(metrics, host, port)
    except OSError as error:
        raise typer.BadParameter(f"--listen {host}:{port}: {error.strerror}") from None
    server.start()
    return server


def _loop(cycle_runner: Cycle, metrics: Metrics, deliverer: Deliverer, state: Address) -> Loop:
    """The loop of cycles, with deliveries and maintenance beside it."""
    deliveries = DeliveryWorker(
        book=cycle_runner.book,
        clock=cycle_runner.clock,
        lease=lambda: cycle_runner.lease,
        deliver=deliverer,
        metrics=metrics,
    )
    maintenance = [
        verification_job(state, metrics.verified),
        bypass_job(
            cycle_runner.book,
            cycle_runner.clock,
            lambda: cycle_runner.permissions,
            metrics.bypasses,
        ),
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
    )


def _delivery_settings() -> Settings:
    """The settings of the delivery. Raises ConfigError."""
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
