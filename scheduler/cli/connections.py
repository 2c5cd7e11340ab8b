"""The connections of a command: the cloud and IAM of the environment, and the log on stderr."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import structlog
import typer

from scheduler.clock import monotonic, pause
from scheduler.clouds.permissions import LIMITS, ScalewayPermissions
from scheduler.clouds.scaleway import ScalewayCloud, client_of
from scheduler.clouds.transport import Transport
from scheduler.config import ConfigError, read_connection, read_permissions_connection

OnRequest = Callable[[str, str, float], None]


def connect(on_request: OnRequest | None = None) -> ScalewayCloud:
    """The cloud that the environment names. Raises ConfigError."""
    connection = read_connection()
    try:
        return ScalewayCloud.connect(**asdict(connection), on_request=on_request)
    except ValueError as error:
        raise ConfigError(f"the Scaleway connection (SCW_*): {error}") from None


def connect_permissions(on_request: OnRequest | None = None) -> ScalewayPermissions | None:
    """IAM with its own key; None if the environment names none. Raises ConfigError."""
    connection = read_permissions_connection()
    if connection is None:
        return None
    try:
        client = client_of(**asdict(connection))
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
