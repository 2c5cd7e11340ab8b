"""The address of the book: a SQLite file in the state folder, or a PostgreSQL database."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

FILE_NAME = "cohortd.db"
VIEW_FOLDER, VIEW_NAME = "view", "view.db"
DRIVER = "postgresql+psycopg"
SECRET_PARAMETERS = ("password", "sslpassword")
"""Parameters of a URL that are never shown."""
ACCEPTED_SCHEMES = ("postgresql", "postgres", DRIVER)


class BookError(Exception):
    """The book cannot be opened, read or written; the text says what to do."""


class BookUnreachable(BookError):
    """The database does not answer, or not in time; nothing is known to be wrong with the book."""


@dataclass(frozen=True, slots=True)
class Address:
    """A state folder, which holds the inbox and the view, and the database of the book.

    `database` is a postgresql:// URL, or empty for the SQLite file `name` of the folder. It may
    hold a password and is never shown.
    """

    folder: Path
    database: str = field(default="", repr=False)
    name: str = FILE_NAME

    @classmethod
    def from_path(cls, location: Path | Address) -> Address:
        """A folder as the address of the SQLite book in it; an address as it is."""
        return location if isinstance(location, Address) else cls(location)

    @property
    def file(self) -> Path | None:
        """The file of a SQLite book; None on PostgreSQL."""
        return None if self.database else self.folder.joinpath(self.name)

    @property
    def view(self) -> Address:
        """The copy of the book that `cohortd serve` reads: a SQLite file beside either book."""
        return Address(self.folder.joinpath(VIEW_FOLDER), name=VIEW_NAME)

    @property
    def url(self) -> URL:
        """The database's URL for our driver. Raises BookError, without the password."""
        try:
            url = make_url(self.database)
        except (ArgumentError, ValueError):
            url = None
        if url is None or url.drivername not in ACCEPTED_SCHEMES or not (url.database or url.query):
            raise BookError(
                "--database: write postgresql://USER@HOST/NAME; without it the book is the "
                "SQLite file in --state"
            )
        return url.set(drivername=DRIVER)

    @property
    def book(self) -> str:
        """The file, or the database without its password, as messages name it."""
        if self.file is not None:
            return str(self.file)
        shown = self.url.set(drivername="postgresql").difference_update_query(SECRET_PARAMETERS)
        return shown.render_as_string(hide_password=True)

    def __str__(self) -> str:
        """The option that names it: as it could be typed, but without a password."""
        return f"--database {self.book}" if self.database else f"--state {self.folder}"
