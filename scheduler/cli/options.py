"""Options that several commands share, and the printing of answers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import structlog
import typer

from quotas.book import Address
from quotas.model.units import parse_duration
from scheduler.clock import monotonic, pause
from scheduler.clouds.permissions import LIMITS, ScalewayPermissions
from scheduler.clouds.scaleway import ScalewayCloud, client_of
from scheduler.clouds.transport import Transport
from scheduler.config import ConfigError, read_connection, read_permissions_connection

ProgramFile = Annotated[Path, typer.Option("--program", help="The program file (TOML).")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
DEFAULT_STATE = Address(Path("cohortd-state"))


def _folder(text: str | Address) -> Address:
    return Address.from_path(Path(text) if isinstance(text, str) else text)


State = Annotated[
    Address,
    typer.Option(
        "--state",
        parser=_folder,
        metavar="DIRECTORY",
        show_default=str(DEFAULT_STATE.folder),
        help="Folder that holds the book.",
    ),
]


def print_json(value: object) -> None:
    """Print a value as JSON, sorted and indented."""
    typer.echo(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False))


def read_text(path: Path) -> str:
    """A text file's content; a file that cannot be read is bad usage (exit 2)."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{path}: {error}") from None


def actor() -> str:
    """The user who runs this command, for the book's records."""
    return os.environ.get("SUDO_USER") or os.environ.get("USER") or f"uid-{os.getuid()}"


def connect(on_request: Callable[[str, str, float], None] | None = None) -> ScalewayCloud:
    """The cloud that the environment names. Raises ConfigError."""
    connection = read_connection()
    try:
        return ScalewayCloud.connect(
            access_key=connection.access_key,
            secret_key=connection.secret_key,
            organization_id=connection.organization_id,
            api_url=connection.api_url,
            monotonic=monotonic,
            sleep=pause,
            on_request=on_request,
        )
    except ValueError as error:
        raise ConfigError(f"the Scaleway connection (SCW_*): {error}") from None


def connect_permissions(
    on_request: Callable[[str, str, float], None] | None = None,
) -> ScalewayPermissions | None:
    """IAM with its own key; None if the environment names none. Raises ConfigError."""
    connection = read_permissions_connection()
    if connection is None:
        return None
    try:
        client = client_of(
            access_key=connection.access_key,
            secret_key=connection.secret_key,
            organization_id=connection.organization_id,
            api_url=connection.api_url,
        )
    except ValueError as error:
        raise ConfigError(f"the IAM connection (SCW_IAM_*): {error}") from None
    transport = Transport(limits=LIMITS, monotonic=monotonic, sleep=pause, on_request=on_request)
    return ScalewayPermissions(client, transport)


def log_to_stderr(*, as_json: bool) -> None:
    """Log JSON lines under a service manager, readable lines on a terminal; stdout stays clean."""
    render = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            render,
        ],
        logger_factory=structlog.WriteLoggerFactory(file=typer.get_text_stream("stderr")),
    )


MAX_CYCLE_S = 30
"""Together with the duration of a cycle it is below quotas.metering.runs.SHORTEST_BOUNCE_S.

In a longer gap an edit of a server would make its time free.
"""


def cycle_s(text: str) -> int:
    """The time between cycles, parsed from an option."""
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(f"--cycle: {error}") from None
    if not 1 <= seconds <= MAX_CYCLE_S:
        why = "what may have stopped and started between two looks is not charged"
        raise typer.BadParameter(f"--cycle is {text}: choose between 1s and 30s; {why}")
    return seconds


def parse_address(text: str) -> tuple[str, int]:
    """Host and port, parsed from an option."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65_535:
        raise typer.BadParameter(f"--listen is {text!r}: write host:port such as 127.0.0.1:9464")
    return host, int(port)
