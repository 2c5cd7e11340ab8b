"""Settings of the delivery: server, sender and secrets, from the environment and credentials.

None of them comes from the book: a program file names recipients, and no key.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
ENCRYPTIONS = ("starttls", "tls", "none")
_PORTS = {"starttls": 587, "tls": 465, "none": 25}
MIN_SECRET_LENGTH = 16


class SettingsError(ValueError):
    """An invalid setting: one sentence with its name and the fix."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The delivery settings of this process. Secrets are never shown."""

    smtp_host: str = ""
    smtp_port: int = 587
    smtp_encryption: str = "starttls"
    smtp_user: str = ""
    smtp_password: str = field(default="", repr=False)
    mail_from: str = ""
    webhook_secret: str = field(default="", repr=False)
    webhook_allow: tuple[Network, ...] = ()
    timeout_s: int = 10
    """The limit of one step of a delivery: to connect, or to read."""
    total_s: int = 45
    """The limit of a whole delivery; the scheduler's SEND_BUDGET_S is longer."""

    def secret_of(self, startup: str) -> str:
        """The webhook secret of one startup ("" for operators), from the deployment's secret."""
        made = hmac.new(self.webhook_secret.encode(), f"webhook:{startup}".encode(), hashlib.sha256)
        return made.hexdigest()


def read_settings(environ: Mapping[str, str]) -> Settings:
    """The settings of this process; all of them are optional. Raises SettingsError."""
    encryption = environ.get("COHORTD_SMTP_ENCRYPTION") or "starttls"
    if encryption not in ENCRYPTIONS:
        known = ", ".join(ENCRYPTIONS)
        raise SettingsError(f"COHORTD_SMTP_ENCRYPTION is {encryption!r}: set it to one of {known}")
    sender = environ.get("COHORTD_MAIL_FROM", "")
    if sender and (sender.count("@") != 1 or not sender.isprintable() or " " in sender):
        raise SettingsError(
            f"COHORTD_MAIL_FROM is {sender!r}: set it to a plain address such as "
            "cohortd@example.com"
        )
    secret = _secret(environ, "COHORTD_WEBHOOK_SECRET", "webhook-secret")
    if secret and len(secret) < MIN_SECRET_LENGTH:
        raise SettingsError(
            f"COHORTD_WEBHOOK_SECRET has {len(secret)} characters: give it {MIN_SECRET_LENGTH} or "
            "more, such as from 'openssl rand -hex 32'"
        )
    return Settings(
        smtp_host=environ.get("COHORTD_SMTP_HOST", ""),
        smtp_port=_port(environ.get("COHORTD_SMTP_PORT") or str(_PORTS[encryption])),
        smtp_encryption=encryption,
        smtp_user=environ.get("COHORTD_SMTP_USER", ""),
        smtp_password=_secret(environ, "COHORTD_SMTP_PASSWORD", "smtp-password"),
        mail_from=sender,
        webhook_secret=secret,
        webhook_allow=_networks(environ.get("COHORTD_WEBHOOK_ALLOW", "")),
    )


def _port(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65_536:
        raise SettingsError(f"COHORTD_SMTP_PORT is {text!r}: set it to a port, such as 587")
    return int(text)


def _networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise SettingsError(
            f"COHORTD_WEBHOOK_ALLOW: {error}; write networks such as 10.20.0.0/16"
        ) from None


def _secret(environ: Mapping[str, str], name: str, credential: str) -> str:
    """A secret from the environment, or from systemd's credentials."""
    folder = environ.get("CREDENTIALS_DIRECTORY")
    path = Path(folder) / credential if folder else None
    if environ.get(name):
        return environ[name]
    return path.read_text(encoding="utf-8").strip() if path and path.is_file() else ""
