"""The state file of `on-notice`: it survives restarts and is replaced atomically."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from exporters.ctl.api import BAD_INPUT, ApiError
from exporters.ctl.on_notice.notice_watch import WatchedNotice


class StateFile:
    """A file of notices. It is on the disk before a hook begins, and again after it ended."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> tuple[WatchedNotice, ...]:
        """The stored notices. Raises ApiError if the file is not one of ours."""
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            return tuple(WatchedNotice(**each) for each in found["notices"])
        except FileNotFoundError:
            return ()
        except (OSError, ValueError, TypeError, KeyError) as error:
            message = f"--state {self._path} cannot be used: {error}; remove it, or name another"
            raise ApiError(message, BAD_INPUT) from None

    def write(self, known: Iterable[WatchedNotice]) -> None:
        """Store the notices. Raises ApiError."""
        temporary = self._path.with_name(f"{self._path.name}.new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("w", encoding="utf-8") as file:
                json.dump({"notices": [asdict(each) for each in known]}, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
        except OSError as error:
            raise ApiError(f"--state {self._path} cannot be written: {error}", BAD_INPUT) from None
