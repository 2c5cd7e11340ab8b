"""A booted systemd, and cohortd installed in it by the commands of docs/install.md."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from quotas.book.session import FILE_NAME
from tests.scheduler.processes import Region, region

from .container import CannotBoot, Machine, boot
from .install_page import Reader

pytestmark = pytest.mark.timeout(400)

REPO = Path(__file__).resolve().parents[2]
CHECKOUT, LOCKED = "/srv/cohortd", "/srv/locked"
APT = "apt-get update && apt-get install -y python3 python3-venv dbus curl"
KEY = "/etc/cohortd/scw-secret-key"
GIVEN = "/run/credentials/cohortd.service/scw-secret-key"
IN_PLACE = "/etc/systemd/system/cohortd.service.d"
VERIFY = "as_cohortd verify --state /var/lib/cohortd"
CYCLE = '"event": "cycle"'
SCRAPE = "curl -sS --fail --max-time 3 http://127.0.0.1:9464/metrics"
WATCHDOG_S = 8
START_SERVER = (
    "import json, sys; from tests.scheduler.processes import Region; "
    "Region(json.load(sys.stdin)).start_server()"
)


@dataclass(frozen=True)
class InstalledHost:
    """An installed cohortd, and the region that it observes."""

    machine: Machine
    reader: Reader
    region: Region

    @property
    def state(self) -> Path:
        """The path of the daemon's folder on this machine."""
        return self.machine.root / "var/lib/cohortd"

    def drop_in(self, unit: str, name: str, text: str) -> None:
        """Add lines to a unit's [Service] section, until the container ends."""
        folder = f"/run/systemd/system/{unit}.service.d"
        write = f"mkdir -p {folder} && cat > {folder}/{name}.conf && systemctl daemon-reload"
        self.machine.ask(write, stdin=f"[Service]\n{text}\n")

    def process(self) -> int:
        """The daemon's process number in the container."""
        return int(self.machine.show("cohortd", "MainPID"))

    def as_user(self, user: str, command: str) -> str:
        """The output of a command for that user of the group cohortd."""
        become = f"setpriv --reuid={user} --regid=cohortd --clear-groups"
        return self.machine.ask(f"{become} {command}")


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """A booted container with this checkout and the packages that run these tests."""
    places = {REPO: CHECKOUT, Path(sysconfig.get_path("purelib")): LOCKED}
    required = bool(os.environ.get("COHORTD_REQUIRE_NSPAWN"))
    try:
        with boot(places) as booted:
            yield booted
    except CannotBoot as error:
        pytest.skip(f"service: {error}" if required else f"no container: {error}")


@pytest.fixture(scope="module")
def paris(machine: Machine) -> Iterator[Region]:
    """A region with one server, in the container's own network."""
    with region(*machine.network) as found:
        starting = [*machine.network, sys.executable, "-c", START_SERVER]
        subprocess.run(
            starting, input=json.dumps(found.about), cwd=REPO, text=True, check=True, timeout=60
        )
        yield found


def adapted(paris: Region) -> dict[str, str]:
    """The replacements on the page, each with its reason."""
    about = paris.about
    locked = f"echo {LOCKED} > $(echo /opt/cohortd/lib/python3.*/site-packages)/locked.pth"
    return {
        # This machine's /usr has the packages. After apt, dbus is installed but not started.
        APT: "systemctl stop --quiet dbus.socket dbus.service",
        # pip finds every pin of the locks installed, and downloads nothing.
        "python3 -m venv /opt/cohortd\n": f"python3 -m venv /opt/cohortd\n{locked}\n",
        # The simulated region's names replace the reader's.
        "SCWXXXXXXXXXXXXXXXXX": f"{about['access_key']}\nSCW_API_URL={about['url']}",
        "00000000-0000-0000-0000-000000000000": about["organization_id"],
        "editor /etc": "sed -i s/10000/5000/ /etc",
        # Echoed instead of pasted into the file that the command before it created.
        "cat > /etc/cohortd/iam-access-key": f"echo {about['access_key']} > $_",
        "cat > /etc/cohortd/iam-secret-key": f"echo {about['secret_key']} > $_",
        # Follows the journal until a cycle, instead of until ^C.
        "journalctl -u cohortd -f ": "grep -m1 event.:..cycle < <(journalctl -u cohortd -f) ",
    }


@pytest.fixture(scope="module")
def played(machine: Machine, paris: Region) -> InstalledHost:
    """Type the four steps of the page."""
    reader = Reader(machine, CHECKOUT, adapted(paris))
    assert reader.stale() == [], "docs/install.md says it otherwise now: adapt the test to it"
    for heading in ("Install", "Give it the key", "Write the program", "Start"):
        reader.play(heading, stdin=paris.about["secret_key"])
    return InstalledHost(machine, reader, paris)


@pytest.fixture(scope="module")
def installed_host(played: InstalledHost) -> InstalledHost:
    """The same with a cycle each second, an immediate restart and a short watchdog."""
    unit = (REPO / "systemd/cohortd.service").read_text()
    command = re.search(r"^ExecStart=.*$", unit, re.MULTILINE)
    assert command is not None
    quick = f"RestartSec=100ms\nWatchdogSec={WATCHDOG_S}\nExecStart=\n{command[0]} --cycle 1s"
    played.drop_in("cohortd", "quick", quick)
    since = played.machine.now()
    played.machine.ask("systemctl restart cohortd")
    played.machine.until("cohortd", since, CYCLE)
    return played


def test_the_page_leads_to_a_daemon_that_is_ready(played: InstalledHost) -> None:
    """docs/install.md as it is: cohortd is enabled, ready, in shadow mode, and sees the server."""
    started = played.reader.said["Start"]
    assert "1 of 40 GPUs" in started and "shadow mode" in started
    assert re.search(r"^ready$", started, re.MULTILINE)
    assert "acme-speech" in started and "Usage: cohortd explain" in started
    assert played.machine.ask("systemctl is-enabled cohortd").strip() == "enabled"
    assert "5000" in played.machine.ask("cat /etc/cohortd/program.toml")


def test_systemd_hears_that_it_is_ready_and_what_it_does(played: InstalledHost) -> None:
    """Type=notify: the unit is active by its own message, with the last cycle's sentence."""
    assert played.machine.show("cohortd", "Type") == "notify"
    assert played.machine.show("cohortd", "ActiveState") == "active"
    assert "1 of 40 GPUs" in played.machine.show("cohortd", "StatusText")


def test_the_key_is_a_credential_and_nowhere_else(played: InstalledHost) -> None:
    """The key is in a file that only the daemon reads, not in its environment or unit."""
    secret, machine = played.region.about["secret_key"], played.machine
    environment = machine.ask(f"tr '\\0' '\\n' < /proc/{played.process()}/environ")
    assert "CREDENTIALS_DIRECTORY=/run/credentials/cohortd.service" in environment.splitlines()
    assert "SCW_ACCESS_KEY=" in environment and "SCW_SECRET_KEY" not in environment
    assert secret not in environment + machine.ask("systemctl show cohortd")
    assert played.as_user("cohortd", f"cat {GIVEN}") == secret
    with pytest.raises(AssertionError, match="Permission denied"):
        played.as_user("cohortd", f"cat {KEY}")
    with pytest.raises(AssertionError, match="Permission denied"):
        played.as_user("cohortd-api", f"cat {GIVEN}")


def test_the_key_may_be_encrypted_and_have_a_second_beside_it(
    installed_host: InstalledHost,
) -> None:
    """Without the plain key files the daemon still has its key, and the one for IAM."""
    secret, machine = installed_host.region.about["secret_key"], installed_host.machine
    try:
        installed_host.reader.play("The key encrypted on disk")
        machine.ask(f"mv {KEY} {KEY}.plain")
        since = machine.now()
        installed_host.reader.play("Closing by IAM")
        machine.until("cohortd", since, CYCLE, "1 of 40 GPUs")
        assert installed_host.as_user("cohortd", f"cat {GIVEN}") == secret
        given = installed_host.as_user("cohortd", f"ls {Path(GIVEN).parent}").split()
        assert given == ["iam-access-key", "iam-secret-key", "scw-secret-key"]
        encrypted = machine.ask(f"cat {KEY}.cred")
        assert len(encrypted) > len(secret) and secret not in encrypted
    finally:
        machine.run(f"rm -r {IN_PLACE}; systemctl daemon-reload; mv {KEY}.plain {KEY}")


def test_killed_it_comes_back_and_its_book_is_whole(installed_host: InstalledHost) -> None:
    """After kill -9 systemd starts another daemon, which leads at once; `verify` passes."""
    machine, process, since = (
        installed_host.machine,
        installed_host.process(),
        installed_host.machine.now(),
    )
    machine.ask("systemctl kill --signal=KILL cohortd")
    machine.until("cohortd", since, "Failed with result 'signal'")
    machine.until("cohortd", since, "Started cohortd.service")
    started = machine.now()
    machine.until("cohortd", started, CYCLE, '"outcome": "done"')
    assert installed_host.process() != process
    log = machine.ask(f"journalctl --quiet --output=cat --unit=cohortd --after-cursor='{since}'")
    assert '"outcome": "follower"' not in log
    assert "are right" in installed_host.reader.type(VERIFY)


def killed_by_watchdog(installed_host: InstalledHost, process: int, since: str) -> None:
    """Wait until systemd has given the daemon up, and the journal says why."""
    installed_host.machine.until("cohortd", since, f"Watchdog timeout (limit {WATCHDOG_S}s)!")
    installed_host.machine.until("cohortd", since, f"Killing process {process} ", "SIGABRT")


def test_a_process_that_stands_still_is_killed_and_started_again(
    installed_host: InstalledHost,
) -> None:
    """After SIGSTOP the whole daemon misses its pings; the watchdog restarts it."""
    machine, process, since = (
        installed_host.machine,
        installed_host.process(),
        installed_host.machine.now(),
    )
    machine.ask("systemctl kill --kill-whom=main --signal=STOP cohortd")
    killed_by_watchdog(installed_host, process, since)
    machine.until("cohortd", since, "Started cohortd.service")
    machine.until("cohortd", since, CYCLE)
    assert installed_host.process() != process


def test_a_stalled_loop_is_killed_and_started_again(installed_host: InstalledHost) -> None:
    """If only the cycle waits (for the book), no other thread pings for it."""
    machine, process = installed_host.machine, installed_host.process()
    book = sqlite3.connect(installed_host.state / FILE_NAME, isolation_level=None, timeout=30)
    with closing(book):
        book.execute("BEGIN IMMEDIATE")
        since = machine.now()
        scraped = machine.ask(f"sleep {WATCHDOG_S // 2}; {SCRAPE}")
        assert re.search(r"^cohortd_\w+", scraped, re.MULTILINE)
        assert installed_host.process() == process, (
            "it still lives, and answers, half a watchdog later"
        )
        killed_by_watchdog(installed_host, process, since)
        book.execute("ROLLBACK")
    machine.until("cohortd", since, "Started cohortd.service")
    machine.until("cohortd", since, CYCLE)
    assert installed_host.process() != process
    assert "are right" in installed_host.reader.type(VERIFY)


PROBE = f"""
can() {{
  name=$1; shift
  if "$@" > /dev/null 2>&1; then echo "can $name"; else echo "cannot $name"; fi
}}
can read-the-view cat /var/lib/cohortd/view/view.db
can read-the-book cat /var/lib/cohortd/cohortd.db
can write-the-view touch /var/lib/cohortd/view/probe
can write-the-inbox touch /var/lib/cohortd/inbox/probe
can read-the-key cat {KEY}
can read-the-credential cat {GIVEN}
can write-the-book dd if=/dev/null of=/var/lib/cohortd/cohortd.db conv=notrunc
can write-the-state touch /var/lib/cohortd/probe
can write-the-program touch /etc/cohortd/program.toml
can become-another setpriv --reuid=cohortd true
"""
"""Commands that run in the API's own sandbox, as a part of its start."""


def test_the_api_reads_the_view_and_neither_the_book_nor_the_key(
    installed_host: InstalledHost,
) -> None:
    """In its sandbox the API reads the view and writes the inbox, and may do nothing else."""
    (installed_host.machine.root / "opt/probe").write_text(PROBE)
    assert (
        installed_host.machine.ask(f"cat {KEY} {GIVEN}").count(
            installed_host.region.about["secret_key"]
        )
        == 2
    )
    installed_host.drop_in("cohortd-serve", "probe", "ExecStartPre=/bin/sh /opt/probe")
    since = installed_host.machine.now()
    installed_host.reader.play("The API and the portal")
    installed_host.machine.until("cohortd-serve", since, "cannot become-another")
    log = installed_host.machine.ask("journalctl --quiet --output=cat --unit=cohortd-serve")
    can = set(re.findall(r"^can (\S+)$", log, re.MULTILINE))
    cannot = set(re.findall(r"^cannot (\S+)$", log, re.MULTILINE))
    assert can == {"read-the-view", "write-the-inbox"}
    assert len(cannot) == 8
    token = installed_host.reader.type(
        "as_cohortd token create acme-speech --scope read --expires 1d --name t "
        "--state /var/lib/cohortd"
    )
    found = re.search(r"cohortd_[a-z2-7]{58}", token)
    assert found is not None, token
    # The daemon publishes the new token within about a second; until then the answer is 401.
    asked = (
        "curl -sS --fail --retry 30 --retry-delay 1 --retry-all-errors "
        f"-H 'Authorization: Bearer {found[0]}' http://127.0.0.1:8464/v1/credits"
    )
    assert json.loads(installed_host.machine.ask(asked))["granted"].startswith("5000")


def stamp(state: Path, revision: str) -> str:
    """Write a schema revision into a book, and return the old one."""
    with closing(sqlite3.connect(state / FILE_NAME)) as book, book:
        (before,) = book.execute("SELECT version_num FROM alembic_version").fetchone()
        book.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    return str(before)


def test_a_newer_book_is_refused_and_mending_it_is_enough(installed_host: InstalledHost) -> None:
    """A downgrade is refused with a sentence; once repaired, the unit starts by itself."""
    machine, book = installed_host.machine, installed_host.state / FILE_NAME
    machine.ask("systemctl stop cohortd")
    own = stamp(installed_host.state, "9999")
    before, since = book.read_bytes(), machine.now()
    machine.ask("systemctl start --no-block cohortd")
    machine.until("cohortd", since, "install the newer cohortd again; nothing was changed")
    machine.until("cohortd", since, "Scheduled restart job")
    assert book.read_bytes() == before
    since = machine.now()
    stamp(installed_host.state, own)
    machine.until("cohortd", since, CYCLE)
