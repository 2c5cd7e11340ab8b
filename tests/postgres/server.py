"""A private PostgreSQL server: created, started, restarted and removed, on no port.

It listens on a Unix socket in a folder of its own. If the tests run as root, it runs as another
user, because postgres refuses root. Its databases sort like English text, so that a query that
relies on the order of bytes fails.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, text

from quotas.book import Address

DEBIAN = Path("/usr/lib/postgresql")
ICU_SINCE = 15
SUPERUSER, OWNER = "postgres", "cohortd"


def binaries() -> Path | None:
    """The folder with initdb and postgres: from the PATH, or Debian's newest."""
    on_path = shutil.which("initdb")
    places = [Path(on_path).resolve().parent] if on_path else []
    packaged = [each for each in DEBIAN.glob("*/bin") if each.parent.name.isdigit()]
    places += sorted(packaged, key=lambda each: int(each.parent.name), reverse=True)
    wanted = ("initdb", "pg_ctl", "postgres")
    return next((p for p in places if all((p / name).is_file() for name in wanted)), None)


def _name(address: Address) -> str:
    """The schema of a book, after which its sessions are named."""
    return str(address.url.query["application_name"])


def _account() -> dict[str, Any]:
    """The user who runs the server: the current one, or another one if that is root."""
    if os.geteuid() != 0:
        return {}
    names = {each.pw_name for each in pwd.getpwall()}
    entry = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


@dataclass
class Server:
    """A running server; `stop` ends it and removes all its files."""

    bin: Path
    home: Path
    numbers: count[int]

    @classmethod
    def start(cls, bin: Path) -> Server:
        """Make a cluster in a new folder and start it."""
        server = cls(bin, Path(tempfile.mkdtemp(prefix="cohortd-pg-")), count(1))
        account = _account()
        if account:
            os.chown(server.home, account["user"], account["group"])
        version = server._run("initdb", "--version").split()[2]
        icu = ["--locale-provider=icu", "--icu-locale=en-US"]
        server._run(
            "initdb",
            f"--pgdata={server.data}",
            f"--username={SUPERUSER}",
            "--auth=trust",
            "--encoding=UTF8",
            "--no-sync",
            "--locale=C.UTF-8",
            *(icu if int(version.split(".")[0]) >= ICU_SINCE else ()),
        )
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(server.home),
            "fsync": "off",
            "shared_buffers": "16MB",
            "autovacuum": "off",
        }
        with (server.data / "postgresql.auto.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        server._ctl("start")
        with server.admin.connect() as connection:
            connection.execute(text(f"CREATE ROLE {OWNER} LOGIN CREATEDB"))
        return server

    @property
    def data(self) -> Path:
        """The cluster's own folder."""
        return self.home / "data"

    @cached_property
    def admin(self) -> Engine:
        """The superuser, who can end sessions and bypass triggers; each statement commits alone."""
        url = f"postgresql+psycopg://{SUPERUSER}@/postgres?host={self.home}"
        return create_engine(url, isolation_level="AUTOCOMMIT", pool_pre_ping=True)

    def address(self, folder: Path) -> Address:
        """A new, empty schema, whose owner is no superuser: cheaper than a whole database."""
        name = f"book_{next(self.numbers)}"
        with self.admin.connect() as connection:
            connection.execute(text(f"CREATE SCHEMA {name} AUTHORIZATION {OWNER}"))
        named = f"options=-csearch_path%3D{name}&application_name={name}"
        return Address(folder, f"postgresql://{OWNER}@/postgres?host={self.home}&{named}")

    def database(self, folder: Path, options: str = "") -> Address:
        """A new, empty database of the same owner."""
        name = f"database_{next(self.numbers)}"
        with self.admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} OWNER {OWNER} {options}"))
        return Address(folder, f"postgresql://{OWNER}@/{name}?host={self.home}")

    def tamper(self, address: Address, *statements: str) -> None:
        """Do as a superuser can: change rows while the triggers are off."""
        with self.admin.connect() as connection:
            connection.execute(text("SET session_replication_role = replica"))
            connection.execute(text(f"SET search_path = {_name(address)}"))
            for statement in statements:
                connection.execute(text(statement))
            connection.execute(text("RESET ALL"))

    def end_sessions(self, address: Address) -> int:
        """Terminate every backend of a book, and return their number."""
        query = text(
            "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity "
            "WHERE application_name = :name"
        )
        with self.admin.connect() as connection:
            return int(connection.scalar(query, {"name": _name(address)}) or 0)

    def copy(self, original: Address, to: Address) -> None:
        """Dump a database and restore it into another one, as docs/install.md says."""
        dump, host = str(self.home / f"{original.url.database}.dump"), f"--host={self.home}"
        who = [host, f"--username={OWNER}"]
        self._run("pg_dump", *who, "--format=custom", f"--file={dump}", str(original.url.database))
        self._run("pg_restore", *who, "--exit-on-error", f"--dbname={to.url.database}", dump)

    def reader(self, address: Address) -> Address:
        """The same database through a role that may only read its owner's tables."""
        name = f"reader_{next(self.numbers)}"
        allow = f"ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} GRANT SELECT ON TABLES TO {name}"
        engine = create_engine(self.admin.url.set(database=address.url.database))
        with engine.begin() as connection:
            connection.execute(text(f"CREATE ROLE {name} LOGIN"))
            connection.execute(text(allow))
        engine.dispose()
        return replace(address, database=address.database.replace(f"//{OWNER}@", f"//{name}@"))

    def restart(self) -> None:
        """Crash the server and start it again: it recovers from its log."""
        self._ctl("stop")
        self._ctl("start")

    def stop(self) -> None:
        """End the server and remove its folder."""
        self.admin.dispose()
        try:
            self._ctl("stop")
        finally:
            shutil.rmtree(self.home)

    def _ctl(self, verb: str) -> None:
        log = ["--log", str(self.home / "log")] if verb == "start" else ["--mode=immediate"]
        self._run("pg_ctl", verb, "--wait", "--silent", f"--pgdata={self.data}", *log)

    def _run(self, name: str, *arguments: str) -> str:
        # To a file: the server would inherit a pipe and never close it.
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                [str(self.bin / name), *arguments],
                cwd=self.home,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=60,
                check=False,
                **_account(),
            )
            output.seek(0)
            text = output.read()
        assert done.returncode == 0, f"{name} {arguments}: {text}"
        return text
