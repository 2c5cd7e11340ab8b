"""Has the book changed since it was last read? Asked on every request, in microseconds."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import quote

from quotas.book.session import FILE_NAME, BookError

Version = tuple[int, int]


class Watch:
    """One connection that only asks SQLite whether another one committed."""

    def __init__(self, state: Path) -> None:
        self._path = state.joinpath(FILE_NAME)
        uri = f"file:{quote(str(self._path))}?mode=ro"
        try:
            self._file = self._path.stat().st_ino
            self._connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
            self.version()
        except (OSError, sqlite3.Error) as error:
            raise BookError(f"the book {self._path} cannot be read: {error}") from None

    def version(self) -> Version:
        """A value that differs once anything was committed. Raises BookError.

        A restore puts another file in the place of the one that is open: refused too.
        """
        try:
            file = self._path.stat().st_ino
            (commits,) = self._connection.execute("PRAGMA data_version").fetchone()
        except (OSError, sqlite3.Error) as error:
            raise BookError(f"the book {self._path} cannot be read: {error}") from None
        if file != self._file:
            raise BookError(f"the book {self._path} was replaced: open it again")
        return file, int(commits)

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()
