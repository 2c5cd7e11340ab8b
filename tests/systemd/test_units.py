"""The units parse without a warning, are hardened, and match the daemon's options."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import stat
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest

from scheduler.config import CREDENTIAL
from scheduler.timing import Timing

UNITS = Path(__file__).resolve().parents[2] / "systemd"
BINARY = "/opt/cohortd/bin/cohortd"
EXPOSURE = 13
"""Highest allowed exposure, in tenths: 1.3. The rest is the network, which cohortd needs."""


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"service: {name} is absent")
    return found


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*command], capture_output=True, text=True, timeout=60)


@pytest.fixture(params=["cohortd.service", "cohortd-serve.service"])
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A unit whose program is replaced by one that exists here."""
    text = (UNITS / request.param).read_text()
    assert BINARY in text
    path = tmp_path / str(request.param)
    path.write_text(text.replace(BINARY, shutil.which("true") or "/bin/true"))
    return path


def directives_of(unit: str) -> dict[str, str]:
    parser = RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment]  # systemd's directives have capitals
    parser.read(UNITS / unit)
    return dict(parser["Service"])


@pytest.fixture
def directives() -> dict[str, str]:
    """The daemon's [Service] section, with the last value of each directive."""
    return directives_of("cohortd.service")


def test_the_api_has_no_key_and_writes_its_inbox_alone(directives: dict[str, str]) -> None:
    """The API runs as another user of the daemon's group, without credential or environment."""
    own = directives_of("cohortd-serve.service")
    assert not {"LoadCredential", "EnvironmentFile", "Environment", "StateDirectory"} & own.keys()
    assert own["User"] != directives["User"] and own["Group"] == directives["Group"]
    assert own["ProtectSystem"] == "strict"
    assert own["TemporaryFileSystem"] == "/var/lib/cohortd:ro"
    assert own["BindPaths"] == "/var/lib/cohortd/inbox"
    assert own["BindReadOnlyPaths"] == "/var/lib/cohortd/view"
    assert "ReadWritePaths" not in own
    assert own["Restart"] == "always" and own["Type"] == "notify"


def test_verify_is_silent(unit: Path) -> None:
    """systemd-analyze verify finds nothing to say about the unit."""
    done = run(tool("systemd-analyze"), "verify", unit)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_unit_is_hardened(unit: Path) -> None:
    """The unit's exposure is at most 1.3."""
    analyze = tool("systemd-analyze")
    done = run(analyze, "security", "--offline=true", f"--threshold={EXPOSURE}", unit)
    assert done.returncode == 0, done.stdout


def test_key_arrives_as_a_credential_only(directives: dict[str, str]) -> None:
    """The key is the credential that the daemon reads, and no environment contains it."""
    assert directives["LoadCredential"] == f"{CREDENTIAL}:/etc/cohortd/{CREDENTIAL}"
    assert "SCW_SECRET_KEY" not in (UNITS / "cohortd.service").read_text()


def test_watchdog_outlasts_a_slow_cycle(directives: dict[str, str]) -> None:
    """The watchdog allows the slowest legal cycle, and the unit always restarts."""
    assert directives["Type"] == "notify"
    assert directives["NotifyAccess"] == "main"
    # A call may begin as long as it fits into the lease; its result is written after it.
    timing = Timing()
    slowest_s = timing.cycle_s + timing.lease_s + 2 * timing.database_timeout_s
    assert int(directives["WatchdogSec"]) > slowest_s
    assert directives["Restart"] == "always"
    assert "RestartPreventExitStatus" not in directives


def test_sysusers_and_tmpfiles_make_owner_and_folders(tmp_path: Path) -> None:
    """On an empty root the files create a user, its state folder, and a key only root reads."""
    sysusers, tmpfiles = tool("systemd-sysusers"), tool("systemd-tmpfiles")
    if os.geteuid() != 0:
        pytest.skip("service: only root may create users in another root")
    key = tmp_path / "etc/cohortd" / CREDENTIAL
    key.parent.mkdir(parents=True)
    key.write_text("not a key")
    key.chmod(0o644)
    made = run(sysusers, f"--root={tmp_path}", UNITS / "sysusers.d/cohortd.conf")
    assert made.returncode == 0, made.stderr
    uid, gid = (
        int((tmp_path / "etc" / name).read_text().split("cohortd:x:")[1].split(":")[0])
        for name in ("passwd", "group")
    )
    laid = run(tmpfiles, f"--root={tmp_path}", "--create", UNITS / "tmpfiles.d/cohortd.conf")
    assert laid.returncode == 0, laid.stderr
    assert owner_and_mode(tmp_path / "var/lib/cohortd") == (uid, gid, 0o750)
    api = int((tmp_path / "etc/passwd").read_text().split("cohortd-api:x:")[1].split(":")[0])
    assert owner_and_mode(tmp_path / "var/lib/cohortd/inbox") == (api, gid, 0o2770)
    assert owner_and_mode(tmp_path / "var/lib/cohortd/view") == (uid, gid, 0o750)
    assert owner_and_mode(tmp_path / "etc/cohortd") == (0, gid, 0o750)
    assert owner_and_mode(key) == (0, 0, 0o600)


def owner_and_mode(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)


def test_unit_runs_as_the_user_that_sysusers_makes(directives: dict[str, str]) -> None:
    """User and group of the unit are those of sysusers, and neither is root."""
    lines = (UNITS / "sysusers.d/cohortd.conf").read_text().splitlines()
    made = {line.split()[1] for line in lines if line and not line.startswith("#")}
    users = {directives["User"], directives_of("cohortd-serve.service")["User"]}
    assert users | {directives["Group"]} == made
    assert pwd.getpwuid(0).pw_name not in made and grp.getgrgid(0).gr_name not in made
