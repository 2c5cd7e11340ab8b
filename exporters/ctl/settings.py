"""The address and the token of the API: from the environment, or from a small file."""

from __future__ import annotations

import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SETTING_NAMES = ("url", "token", "token_file")
_REMEDY = 'write url = "…" and token_file = "…" there, or set COHORTCTL_URL and COHORTCTL_TOKEN'


class SettingsError(Exception):
    """Invalid settings: one sentence with the fix."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The address of the API, without a slash at its end, and a token for it."""

    url: str
    token: str


def config_path(environment: Mapping[str, str]) -> Path:
    """The settings file: $COHORTCTL_CONFIG, or cohortctl.toml in the user's configuration."""
    named = environment.get("COHORTCTL_CONFIG")
    if named:
        return Path(named)
    home = environment.get("XDG_CONFIG_HOME") or str(Path(environment.get("HOME", "/")) / ".config")
    return Path(home) / "cohortctl.toml"


def read_settings(environment: Mapping[str, str]) -> Settings:
    """The settings in force. Raises SettingsError."""
    path = config_path(environment)
    found = _file(path)
    if "token" in found:
        _refuse_world_readable(path)
    url = environment.get("COHORTCTL_URL") or found.get("url")
    token = environment.get("COHORTCTL_TOKEN") or found.get("token") or _from_file(path, found)
    if not url:
        raise SettingsError(f"no address of the API is set: {path} has no url; {_REMEDY}")
    if not url.startswith(("https://", "http://")):
        # The value is not shown: the token may stand in the wrong setting.
        raise SettingsError("url is not a URL: write https://HOST, as the operator gave it to you")
    if not token:
        raise SettingsError(f"no token is set: {path} has none; {_REMEDY}")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise SettingsError("the token has letters that no token has: copy it again, whole")
    return Settings(url.rstrip("/"), token)


def _file(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from None
    try:
        found: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is no TOML: {error}") from None
    for name, value in found.items():
        if name not in SETTING_NAMES:
            raise SettingsError(
                f"{path}: {name} is no setting; it takes {', '.join(SETTING_NAMES)}"
            )
        if not isinstance(value, str):
            raise SettingsError(f"{path}: {name} is not a text; write it in quotes")
    if "token" in found and "token_file" in found:
        raise SettingsError(f"{path} has both token and token_file; keep one of them")
    return found


def _from_file(path: Path, found: Mapping[str, str]) -> str | None:
    if "token_file" not in found:
        return None
    named = path.parent / Path(found["token_file"]).expanduser()
    try:
        text = named.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: token_file {named} cannot be read: {error}") from None
    _refuse_world_readable(named)
    return text


def _refuse_world_readable(path: Path) -> None:
    if path.stat().st_mode & stat.S_IROTH:
        raise SettingsError(
            f"{path} holds a token and everybody on this machine may read it: run "
            f"'chmod 600 {path}', and ask for a new token if others use this machine"
        )
