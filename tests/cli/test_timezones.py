"""Timezones: hosts without timezones of their own, and programs whose timezone is unknown."""

from __future__ import annotations

import sys
import zoneinfo
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from .command import environment, run_in_process
from .operator_env import PROGRAM, OperatorEnv

IN_PARIS = PROGRAM.replace("budget", 'timezone = "Europe/Paris"\nbudget', 1)
SCALEWAY = {
    "SCW_API_URL": "http://127.0.0.1:9",
    "SCW_ACCESS_KEY": "SCW" + "X" * 17,
    "SCW_SECRET_KEY": str(UUID(int=1)),
    "SCW_DEFAULT_ORGANIZATION_ID": str(UUID(int=2)),
}


@pytest.fixture
def no_timezones_of_the_host() -> Iterator[None]:
    """A host such as a slim container, whose only timezones are those of the package tzdata."""
    zoneinfo.reset_tzpath(to=[])
    zoneinfo.ZoneInfo.clear_cache()
    yield
    zoneinfo.reset_tzpath()
    zoneinfo.ZoneInfo.clear_cache()


def remove_tzdata(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the package tzdata, and what a test before has loaded of it, impossible to import."""
    for name in ("tzdata", "tzdata.zoneinfo", "tzdata.zoneinfo.Europe"):
        monkeypatch.setitem(sys.modules, name, None)
    zoneinfo.ZoneInfo.clear_cache()


def test_a_host_without_timezones_uses_those_of_tzdata(
    tmp_path: Path, no_timezones_of_the_host: None
) -> None:
    """Summer time in Paris is known, so a date of the file is its midnight there."""
    operator_env = OperatorEnv(tmp_path)
    operator_env.write(IN_PARIS)
    planned = {each["path"]: each["after"] for each in operator_env.run("plan", "--json").json}
    assert planned["cohort.spring.ends"] == "2027-07-04T22:00:00Z"


def test_a_file_whose_timezone_cannot_be_loaded_names_the_missing_package(
    tmp_path: Path, no_timezones_of_the_host: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any timezone the sentence does not blame the name of the timezone."""
    remove_tzdata(monkeypatch)
    operator_env = OperatorEnv(tmp_path)
    operator_env.write(IN_PARIS)
    planned = operator_env.run("plan")
    assert planned.code == 2
    assert planned.sentence.endswith(
        'program.timezone = "Europe/Paris" cannot be loaded, because this host has no timezones; '
        "install the package tzdata."
    )


def test_the_daemon_refuses_a_program_whose_timezone_this_host_lacks(
    tmp_path: Path, no_timezones_of_the_host: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`run` ends with one sentence at its start; no cycle fails with a traceback."""
    operator_env = OperatorEnv(tmp_path)
    operator_env.write(IN_PARIS)
    assert operator_env.run("apply").code == 0
    remove_tzdata(monkeypatch)
    arguments = ("run", "--state", operator_env.state, "--listen", "127.0.0.1:0")
    ran = run_in_process(*arguments, env=environment(**SCALEWAY))
    assert ran.code == 2
    assert ran.sentence == (
        "the program cannot be evaluated on this host: No time zone found with key "
        "Europe/Paris: install cohortd again with its dependency tzdata"
    )
