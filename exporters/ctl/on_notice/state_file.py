"""The state file of `on-notice`: it survives restarts and is replaced atomically."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from exporters.ctl.on_notice.notice_watch import WatchedNotice


class StateFileError(Exception):
    """The file cannot be read or written: one sentence."""


class StateFile:
    """A file of notices. It is on the disk before a hook begins, and again after it ended.

    A file that was not readable is never written: it may be somebody else's.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._is_ours = path, True

    def read(self) -> tuple[WatchedNotice, ...]:
        """The stored notices. Raises StateFileError if the file is not one of ours."""
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            return tuple(WatchedNotice(**each) for each in found["notices"])
        except FileNotFoundError:
            return ()
        except (OSError, ValueError, TypeError, KeyError) as error:
            self._is_ours = False
            message = f"--state {self._path} cannot be used: {error}; remove it, or name another"
            raise StateFileError(message) from None

    def write(self, known: Iterable[WatchedNotice]) -> None:
        """Store the notices. Raises StateFileError."""
        if not self._is_ours:
            return
        temporary = self._path.with_name(f"{self._path.name}.new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("w", encoding="utf-8") as file:
                json.dump({"notices": [asdict(each) for each in known]}, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
        except OSError as error:
            raise StateFileError(f"--state {self._path} cannot be written: {error}") from None
