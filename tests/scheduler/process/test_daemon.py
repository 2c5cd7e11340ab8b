"""`cohortd run` as a real process against the simulated region, over real HTTP."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..processes import Region, cohortd, daemon, fetch, region

FAMILIES = (
    "balance_credits",
    "granted_credits",
    "charged_credits",
    "burn_credits_per_hour",
    "pool_gpus",
    "level",
    "zone_complete",
    "zone_confirmed_timestamp_seconds",
    "lease_epoch",
    "active_alarms",
    "notices_open",
    "cycles_total",
    "cycle_duration_seconds_bucket",
    "last_successful_cycle_timestamp_seconds",
    "leader",
    "cloud_requests_total",
    "cloud_request_duration_seconds_bucket",
    "cycles_missed_total",
)


@pytest.fixture(scope="module")
def paris() -> Iterator[Region]:
    """One simulated region for all tests here, with one server that runs."""
    with region() as found:
        found.start_server()
        yield found


@pytest.fixture
def program(paris: Region, tmp_path: Path) -> Path:
    """A program file in which that server may run."""
    file = tmp_path / "program.toml"
    file.write_text(paris.program(limit=8))
    return file


def test_it_gets_ready_reloads_and_leaves_cleanly(
    paris: Region, program: Path, tmp_path: Path
) -> None:
    """/readyz after a cycle, all families in /metrics, SIGHUP keeps it, SIGTERM exits 0."""
    with daemon(paris.env, tmp_path / "state", program) as running:
        url = running.url()
        assert fetch(f"{url}/healthz")[0] == 200
        first = running.wait_for("cycle", outcome="done")
        assert "1 of 8 GPUs" in first["sentence"]
        assert fetch(f"{url}/readyz")[0] == 200
        text = fetch(f"{url}/metrics")[1]
        missing = [name for name in FAMILIES if f"\ncohortd_{name}" not in text]
        assert not missing
        running.child.send_signal(signal.SIGHUP)
        for _ in range(3):
            running.wait_for("cycle", outcome="done")
        assert 'cohortd_cycles_total{outcome="failed"}' not in fetch(f"{url}/metrics")[1]
        assert running.end() == 0
        assert "daemon.stopped" in running.rest and "Traceback" not in running.rest
    assert paris.env["SCW_SECRET_KEY"] not in str(running.log) + running.rest
    check = cohortd(paris.env, "verify", "--state", str(tmp_path / "state"))
    assert check.returncode == 0, check.stdout + check.stderr


def test_the_secret_is_in_no_file_and_no_process_list(
    paris: Region, program: Path, tmp_path: Path
) -> None:
    """After a cycle the key is in no file of the state folder and not on the command line."""
    secret = paris.env["SCW_SECRET_KEY"].encode()
    with daemon(paris.env, tmp_path / "state", program) as running:
        running.wait_for("cycle", outcome="done")
        assert secret not in Path(f"/proc/{running.child.pid}/cmdline").read_bytes()
        files = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
        assert files
        assert not [path.name for path in files if secret in path.read_bytes()]


def test_killed_and_started_again_its_books_are_accepted(
    paris: Region, program: Path, tmp_path: Path
) -> None:
    """kill -9 after a cycle and in the next start: `cohortd verify` accepts both."""
    state = tmp_path / "state"
    for _ in range(2):
        with daemon(paris.env, state, program) as running:
            running.wait_for("cycle")
            assert running.end(signal.SIGKILL) == -signal.SIGKILL
        check = cohortd(paris.env, "verify", "--state", str(state))
        assert check.returncode == 0, check.stdout + check.stderr
    with daemon(paris.env, state, program) as running:
        assert running.wait_for("cycle")["outcome"] in {"done", "follower"}
        assert running.end() == 0
    assert [run["end_s"] for run in paris.runs()] == [None], "servers keep running meanwhile"


def test_a_clean_stop_lets_the_next_lead_at_once(
    paris: Region, program: Path, tmp_path: Path
) -> None:
    """The daemon gives the lease back: the next daemon leads in its first cycle."""
    for epoch in (1, 2):
        with daemon(paris.env, tmp_path / "state", program) as running:
            url = running.url()
            assert running.wait_for("cycle")["outcome"] == "done"
            assert f"cohortd_lease_epoch {epoch}.0" in fetch(f"{url}/metrics")[1]
            assert running.end() == 0


def test_a_wrong_key_is_a_distinct_cause_and_stops_nothing(
    paris: Region, program: Path, tmp_path: Path
) -> None:
    """401 everywhere counts as key_refused; every zone is unknown, and the server keeps running."""
    program.write_text(paris.program(limit=0))
    env = {**paris.env, "SCW_SECRET_KEY": "00000000-0000-4000-8000-000000000000"}
    with daemon(env, tmp_path / "state", program) as running:
        url = running.url()
        sentence = running.wait_for("cycle")["sentence"]
        assert "not known" in sentence
        text = fetch(f"{url}/metrics")[1]
        failures = "cohortd_cloud_request_failures_total"
        assert re.search(failures + r'\{[^}]*reason="key_refused"', text)
        assert 'cohortd_zone_complete{cloud_zone="fr-par-2"} 0.0' in text
        assert running.end() == 0
    assert [run["end_s"] for run in paris.runs()] == [None]
    assert "00000000-0000-4000-8000-000000000000" not in str(running.log) + running.rest


def test_a_taken_port_is_told_and_nothing_runs(
    paris: Region, program: Path, tmp_path: Path
) -> None:
    """A second daemon on the same port ends with a sentence, not with a stack trace."""
    with daemon(paris.env, tmp_path / "state", program) as running:
        listen = running.url().removeprefix("http://")
        other = cohortd(paris.env, "run", "--state", str(tmp_path / "b"), "--listen", listen)
        assert other.returncode == 2 and "Traceback" not in other.stderr
        said = " ".join(other.stderr.replace("│", " ").split())
        assert "--listen" in said and "already in use" in said
        assert running.end() == 0
