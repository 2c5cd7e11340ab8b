"""Connections and settings of this process, from environment, credentials and profile."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scaleway_core.profile import Profile

DEFAULT_URL = "https://api.scaleway.com"
CREDENTIAL = "scw-secret-key"
IAM_ACCESS, IAM_SECRET = "iam-access-key", "iam-secret-key"
"""Credentials of the second key, which cohortd uses only to close and reopen startups."""
_ACCESS_KEY = re.compile(r"SCW[A-Z0-9]{17}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class ConfigError(ValueError):
    """A missing or wrong setting: one sentence with its name and the fix."""


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach Scaleway. The secret key is never shown."""

    access_key: str
    secret_key: str = field(repr=False)
    organization_id: str
    api_url: str = DEFAULT_URL


def read_connection(env: Mapping[str, str] = os.environ) -> Connection:
    """The Scaleway connection. The environment beats the credentials, and these the profile.

    Raises ConfigError that names the missing setting.
    """
    profile = _profile(env)
    access = env.get("SCW_ACCESS_KEY") or profile.get("access_key", "")
    secret = env.get("SCW_SECRET_KEY") or _credential(env, CREDENTIAL)
    secret = secret or profile.get("secret_key", "")
    _check("SCW_ACCESS_KEY", access, _ACCESS_KEY, "SCW and 17 letters or digits")
    organization_id, url = _organization(env, profile)
    _check_secret("SCW_SECRET_KEY", secret, CREDENTIAL)
    return Connection(access, secret, organization_id, url)


def read_permissions_connection(env: Mapping[str, str] = os.environ) -> Connection | None:
    """The connection with the second key, which may change IAM rules; None without one.

    Organization and address are those of the first key. Raises ConfigError if only half is set.
    """
    access = env.get("SCW_IAM_ACCESS_KEY") or _credential(env, IAM_ACCESS)
    secret = env.get("SCW_IAM_SECRET_KEY") or _credential(env, IAM_SECRET)
    if not access and not secret:
        return None
    _check("SCW_IAM_ACCESS_KEY", access, _ACCESS_KEY, "SCW and 17 letters or digits")
    _check_secret("SCW_IAM_SECRET_KEY", secret, IAM_SECRET)
    return Connection(access, secret, *_organization(env, _profile(env)))


def _organization(env: Mapping[str, str], profile: Mapping[str, str]) -> tuple[str, str]:
    """The organization's id, and the address of the API. Raises ConfigError."""
    name = "SCW_DEFAULT_ORGANIZATION_ID"
    organization_id = env.get(name) or profile.get("default_organization_id", "")
    _check(name, organization_id, _UUID, "a UUID")
    return organization_id, env.get("SCW_API_URL") or profile.get("api_url") or DEFAULT_URL


def _check_secret(name: str, value: str, credential: str) -> None:
    if not _UUID.fullmatch(value):
        raise ConfigError(
            f"{name} is missing or not a UUID: set it, or give it to systemd as the "
            f"credential {credential}"
        )


def _check(name: str, value: str, shape: re.Pattern[str], want: str) -> None:
    if not shape.fullmatch(value):
        raise ConfigError(f"{name} is {value!r}: set it to the API key's value, {want}")


def _credential(env: Mapping[str, str], name: str) -> str:
    folder = env.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return ""
    path = Path(folder) / name
    return path.read_text().strip() if path.is_file() else ""


def _profile(env: Mapping[str, str]) -> dict[str, str]:
    """The named or default profile of Scaleway's own configuration file, if it exists."""
    path = Path(env.get("SCW_CONFIG_PATH") or Path.home() / ".config/scw/config.yaml")
    if not path.is_file():
        return {}
    profile = Profile.from_config_file(str(path), env.get("SCW_PROFILE"))
    names = ("access_key", "secret_key", "default_organization_id", "api_url")
    return {name: getattr(profile, name) or "" for name in names}


def database_url(env: Mapping[str, str] = os.environ) -> str:
    """The URL of the book's PostgreSQL database; empty if --state has a SQLite book."""
    return env.get("COHORTD_DATABASE") or _credential(env, "database-url")


def heartbeat_url(env: Mapping[str, str] = os.environ) -> str:
    """The URL to call after successful cycles; empty if none is set. Raises ConfigError."""
    url = env.get("COHORTD_HEARTBEAT_URL") or _credential(env, "heartbeat-url")
    if url and not url.startswith(("https://", "http://")):
        raise ConfigError("COHORTD_HEARTBEAT_URL is not a URL: begin it with https:// or http://")
    return url
