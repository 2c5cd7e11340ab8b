"""`cohortd demo`: a whole program in seconds, whose books tie out to the micro-credit."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import scheduler
from quotas.book.session import FILE_NAME
from quotas.model.units import parse_instant

from .command import MAIN, REPO, CommandResult, cohortd, environment, restore_sigint, run_in_process

STARTUPS = ["acme-speech", "borealis-vision", "cumulus-bio", "delta-robotics", "echo-agents"]

SEEDS = (1, 2, 3)
DAYS = 7
BORROWING_SEED = 2
AT_ONCE = 2
MINIMUM_NOTICE_S = 1800
TRACE = Path("traces") / "philly_vc_demand_hourly.parquet"
CSV = """\
startup,instant,GPUs
Acme Speech,2027-01-05T00:00:00Z,2
Acme Speech,2027-01-05T06:30:00Z,8
Acme Speech,2027-01-06T03:00:00Z,0
acme_speech,2027-01-05T12:00:00Z,1
acme_speech,1799236800,0
"""


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the first demo of seed 1 leaves its book."""
    return tmp_path_factory.mktemp("demo") / "kept"


@pytest.fixture(scope="module")
def demos(kept: Path) -> Iterator[dict[str, Future[CommandResult]]]:
    """A demo for each seed, and another one of the first seed, run side by side."""
    length = ("--json", "--days", DAYS)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        started = {
            str(seed): pool.submit(
                cohortd, "demo", *length, "--seed", seed, *(["--keep", kept] if seed == 1 else [])
            )
            for seed in SEEDS
        }
        started["again"] = pool.submit(cohortd, "demo", *length, "--seed", SEEDS[0])
        yield started


def ties_out(ran: CommandResult) -> dict[str, Any]:
    """The output of the demo, after a check of every equation between its numbers."""
    assert ran.code == 0, ran.err
    said: dict[str, Any] = ran.json
    assert said["tie_out"] is True and said["verified"] is True and said["fault"] is None
    granted, overdraft, charged, left, expired, truth, bound = (
        Decimal(said[name])
        for name in ("granted", "overdraft", "charged", "left", "expired", "truth", "bound")
    )
    settled, held, refunded = (Decimal(said[name]) for name in ("settled", "held", "refunded"))
    assert granted + overdraft == charged + settled + left + held + expired
    assert abs(charged + refunded - truth) <= bound < truth
    assert charged > 0 and min(overdraft, left, expired) >= 0
    for scenario in filter(None, said["scenarios"].values()):
        noticed, due, stopped = (
            parse_instant(scenario[at]) for at in ("notice", "deadline", "stopped")
        )
        assert noticed + MINIMUM_NOTICE_S <= due <= stopped and scenario["reason"]
    return said


@pytest.mark.parametrize("seed", SEEDS)
def test_each_seed_ties_out_to_the_micro_credit(
    seed: int, demos: dict[str, Future[CommandResult]]
) -> None:
    """granted + overdraft = charged + settled + left + held + expired; usage is true."""
    said = ties_out(demos[str(seed)].result())
    assert (said["seed"], said["days"]) == (seed, DAYS)
    assert said["cycles"] >= DAYS * 8  # a cycle at least every three hours


@pytest.mark.parametrize("seed", SEEDS)
def test_the_demo_ends_its_scenarios(seed: int, demos: dict[str, Future[CommandResult]]) -> None:
    """A server in standby, an exhaustion and an undone mistake each happen once, with a notice.

    A week is short for a reclaim: only one of the seeds has that scenario, too.
    """
    scenarios = demos[str(seed)].result().json["scenarios"]
    assert set(scenarios) == {"reclaim", "standby", "credits", "undone"}
    if seed == BORROWING_SEED:
        assert "waits for its nominal quota" in scenarios["reclaim"]["reason"]
    assert scenarios["standby"]["startup"] == scenarios["undone"]["startup"] == "echo-agents"
    assert scenarios["credits"]["startup"] == "delta-robotics"
    assert (
        scenarios["standby"]["stopped"]
        < scenarios["undone"]["stopped"]
        <= scenarios["undone"]["undone"]
    )
    assert scenarios["undone"]["undone"] < scenarios["undone"]["back"]


def test_a_seed_plays_the_same_program_each_time(demos: dict[str, Future[CommandResult]]) -> None:
    """The demo's object depends on seed and days alone, not on the machine."""
    assert demos["again"].result().json == demos[str(SEEDS[0])].result().json
    assert demos["again"].result().json != demos[str(SEEDS[1])].result().json


def test_quota_is_lent_borrowed_and_asked_back(
    demos: dict[str, Future[CommandResult]], kept: Path
) -> None:
    """A startup runs above its nominal quota on lent GPUs, and the owner asks for its own back."""
    said = ties_out(demos["1"].result())
    lent_once = Decimal()
    for flows in said["lending"].values():
        borrowed = sum(Decimal(own["borrowed"]) for own in flows["startups"].values())
        lent = sum(Decimal(own["lent"]) for own in flows["startups"].values())
        # Each figure is rounded down to a hundredth of a GPU-hour.
        assert abs(borrowed - lent - Decimal(flows["lent_by_pool"])) < Decimal("0.11")
        lent_once += lent
    assert lent_once > 0 and Decimal(said["lending"]["h100"]["lent_by_pool"]) == 0
    assert Decimal(said["lending"]["h100"]["startups"]["borealis-vision"]["borrowed"]) > 0
    listed = run_in_process("request", "list", "--all", "--state", kept, "--json").json["requests"]
    assert said["requests"]["opened"] == len(listed) > 0
    fulfilled = sum(line["fulfilled"] is not None for line in listed)
    assert said["requests"]["fulfilled"] == fulfilled > 0
    assert {line["actor"] for line in listed} == {"demo"}


def test_a_kept_book_verifies_and_is_shown(
    demos: dict[str, Future[CommandResult]], kept: Path
) -> None:
    """With --keep the demo's book remains: verify accepts it, and status shows its startups."""
    said = ties_out(demos["1"].result())
    verified = cohortd("verify", "--state", kept, "--json")
    assert verified.code == 0, verified.err
    assert verified.json["ok"] is True and verified.json["transfers"] > len(SEEDS)
    shown = run_in_process("status", "--state", kept, "--json")
    assert shown.code == 0, shown.err
    assert shown.json["program"] == "demo" and shown.json["mode"] == "enforce"
    charged = sum(Decimal(startup["charged"]) for startup in shown.json["startups"])
    assert charged == Decimal(said["charged"])
    again = run_in_process("demo", "--days", 1, "--keep", kept)
    assert again.code == 2 and f"--keep: {kept} holds a book already" in again.sentence


def test_a_real_trace_drives_the_demo(shared: Path) -> None:
    """Five days of recorded demand from Philly's virtual clusters tie out."""
    said = ties_out(cohortd("demo", "--json", "--days", 5, "--trace", shared / TRACE))
    assert said["days"] == 5


def test_a_csv_trace_drives_the_demo_whatever_its_startups_are_called(tmp_path: Path) -> None:
    """Names that a program file would refuse are changed into valid, distinct names."""
    trace, state = tmp_path / "demand.csv", tmp_path / "state"
    trace.write_text(CSV)
    ran = cohortd("demo", "--json", "--days", 2, "--trace", trace, "--keep", state)
    said = ties_out(ran)
    startups = run_in_process("status", "--state", state, "--json").json["startups"]
    charged = {startup["name"]: Decimal(startup["charged"]) for startup in startups}
    assert set(charged) == {"acme-speech", "acme-speech-2"}
    assert sum(charged.values()) == Decimal(said["charged"])
    # 2 GPUs for 7.5 h, then 8 for 20.5 h, at list prices of 2.8665 a GPU-hour or slightly more
    assert max(charged.values()) > 150 * Decimal("2.8665")


def test_with_stay_the_pages_stay_open_until_an_interrupt() -> None:
    """After the demo the token opens the API, /metrics has the last view, and ^C ends it."""
    command = [sys.executable, "-c", MAIN, "demo", "--days", "1", "--poll", "6h", "--stay"]
    child = subprocess.Popen(
        command,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=restore_sigint,
    )
    try:
        assert child.stdout is not None
        lines = []
        while not lines or not lines[-1].startswith("it stays open"):
            lines.append(child.stdout.readline())
            assert lines[-1], "the demo ended by itself"
        portal, metrics, token = (lines[n].split()[1] for n in (0, 1, 2))
        asked = urllib.request.Request(
            portal.replace("/portal/", "/v1/credits"), headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(asked, timeout=20) as answer:
            assert b'"available"' in answer.read()
        with urllib.request.urlopen(metrics, timeout=20) as answer:
            assert b"cohortd_charged_credits" in answer.read()
        child.send_signal(signal.SIGINT)
        assert child.wait(30) == 0
    finally:
        child.kill()
        child.wait(30)


def test_without_a_terminal_the_demo_speaks_in_plain_lines() -> None:
    """The text has no escape codes: a line per decision, the table, and the tie-out."""
    ran = cohortd("demo", "--days", 1, "--seed", 2, "--poll", "6h")
    assert ran.code == 0, ran.err
    assert "\x1b" not in ran.out and "╭" not in ran.out
    lines = ran.out.splitlines()
    assert lines[0].startswith("portal  http://127.0.0.1:") and lines[1].startswith("metrics http")
    assert [line.split()[-1] for line in lines[2:7]] == STARTUPS
    assert any(line.startswith("2027-01-04T23:00:00Z 5 startups, 0 of 40 GPUs") for line in lines)
    assert any(" notify " in line for line in lines)
    assert "GPU-hours borrowed and lent:" in lines
    assert any(line.startswith("granted ") and line.endswith(": exact") for line in lines)
    assert "charges within the recorded bounds: yes" in lines and "book: verified" in lines
    assert not (REPO / FILE_NAME).exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--poll", "x"], "--poll 'x' is not a duration such as 90s, 30m, 1h30m or 7d"),
        (["--poll", "5s"], "--poll 5s is out of range; give 30s to 1d"),
        (["--days", "0"], "Invalid value for '--days': Input should be greater than or equal to 1"),
        (["--trace", "nowhere.csv"], "'--trace': file 'nowhere.csv' does not exist."),
    ],
)
def test_bad_usage_is_one_sentence_and_exit_2(arguments: list[str], sentence: str) -> None:
    """A value that cannot be used is named with a valid one, before anything starts."""
    ran = run_in_process("demo", *arguments)
    assert ran.code == 2 and ran.out == ""
    assert sentence in ran.sentence


def test_a_trace_that_cannot_be_read_names_its_line(tmp_path: Path) -> None:
    """A broken trace is bad input: one sentence, and no traceback."""
    trace = tmp_path / "broken.csv"
    trace.write_text("startup,instant,GPUs\nacme,tomorrow,2\n")
    ran = cohortd("demo", "--days", 1, "--trace", trace)
    assert ran.code == 2 and f"{trace}, line 2: wants startup,instant,GPUs" in ran.err
    assert "Traceback" not in ran.err


def test_the_package_under_test_is_the_one_beside_the_tests() -> None:
    """The tests use this checkout, not an installed copy."""
    assert scheduler.__file__ is not None
    assert Path(scheduler.__file__).resolve() == REPO / "scheduler" / "__init__.py"
