"""The command that serves the API from the daemon's copy of the book, without any key."""

from __future__ import annotations

import sys
from typing import Annotated

import structlog
import typer

from quotas.book.inbox import Inbox
from scheduler.cli.connections import log_to_stderr
from scheduler.cli.options import DEFAULT_STATE, State, fail, parse_address, parse_cycle
from scheduler.clock import SystemClock
from scheduler.loop import sd_notify

log = structlog.get_logger()


app = typer.Typer()


@app.command()
def serve(
    folder: State = DEFAULT_STATE,
    listen: Annotated[str, typer.Option(help="The host:port of the API.")] = "127.0.0.1:8464",
    cycle: Annotated[str, typer.Option(help="The --cycle of the daemon: 1s to 30s.")] = "30s",
) -> None:
    """Serve the API until SIGTERM. It needs no key and no database, and writes only its inbox."""
    # Imported here: FastAPI takes longer to import than most commands take to run.
    from exporters.api.app import build_app
    from exporters.api.server import listener
    from exporters.api.server import serve as serve_until_told

    log_to_stderr(as_json=not sys.stderr.isatty())
    host, port = parse_address(listen)
    inbox = Inbox(folder.folder)
    app = build_app(folder, inbox, SystemClock().now_s, cycle_s=parse_cycle(cycle))
    try:
        listening = listener(host, port)
    except OSError as error:
        fail(f"--listen {listen}: {error.strerror}")
    at_host, at_port = listening.getsockname()[:2]
    log.info("api.started", api=f"{at_host}:{at_port}", view=str(folder.view.file))
    try:
        serve_until_told(app, listening, sd_notify)
    finally:
        inbox.close()
    log.info("api.stopped")
