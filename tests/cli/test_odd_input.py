"""Odd input of the command line: refused in one sentence that shows no secret."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest

from .command import LIMIT_S, MAIN, environment, run_in_process
from .operator_env import PROGRAM, OperatorEnv

SECRET = str(UUID(int=7))


def test_a_secret_in_the_wrong_variable_is_not_shown(operator_env: OperatorEnv) -> None:
    """Access key and secret key are easily swapped: the refusal names the variable alone."""
    swapped = environment(SCW_ACCESS_KEY=SECRET, SCW_SECRET_KEY="SCW" + "X" * 17)
    ran = run_in_process("init", "--program", operator_env.folder / "first.toml", env=swapped)
    assert ran.code == 2 and SECRET not in ran.err
    assert ran.sentence.startswith("SCW_ACCESS_KEY is missing or not SCW and 17 letters or digits:")


HUGE = "9" * 23
FOR = ("--for", "1h")


@pytest.mark.parametrize(
    "words",
    [
        ("undo", HUGE, "--reason", "x"),
        ("approve", HUGE, "--reason", "x"),
        ("explain", HUGE),
        ("grant", "acme", HUGE, "--id", "x", "--reason", "x"),
    ],
)
def test_a_number_of_23_digits_is_refused_in_one_sentence(
    operator_env: OperatorEnv, words: tuple[str, ...]
) -> None:
    """No column holds it, and nothing is written."""
    before = operator_env.in_force()
    command, *more = words
    ran = operator_env.run(command, *more)
    assert ran.code == 2 and "larger than" in ran.sentence
    assert operator_env.in_force() == before


@pytest.mark.parametrize("words", [("ack", HUGE), ("snooze", HUGE, *FOR, "--reason", "x")])
def test_a_notice_of_23_digits_is_refused_in_one_sentence(
    operator_env: OperatorEnv, words: tuple[str, ...]
) -> None:
    """Below a group of commands too."""
    ran = run_in_process("notice", *words, "--state", operator_env.state)
    assert ran.code == 2 and "larger than" in ran.sentence


@pytest.mark.parametrize("words", [("explain", "\udcff"), ("status", "--as-of", "a\udcff")])
def test_bytes_that_are_not_utf8_are_refused_in_one_sentence(
    operator_env: OperatorEnv, words: tuple[str, ...]
) -> None:
    """Python hands such bytes on as lone surrogates, which no column and no message can hold."""
    ran = operator_env.run(*words)
    assert ran.code == 2 and ran.sentence.isascii()
    assert "is not UTF-8" in ran.sentence


def test_a_byte_order_mark_is_accepted(operator_env: OperatorEnv) -> None:
    """Some editors write one before the first table; it changes nothing."""
    operator_env.write(f"\ufeff{PROGRAM}")
    ran = operator_env.run("plan")
    assert (ran.code, ran.out.partition(";")[0]) == (0, "0 changes")


def test_a_startup_may_have_the_name_of_a_subcommand(tmp_path: Path) -> None:
    """Commands that may leave out their subcommand take its full form: `hold place list`."""
    operator_env = OperatorEnv(tmp_path)
    operator_env.write(PROGRAM.replace("acme", "list"))
    assert operator_env.run("apply").code == 0
    place = ("list", "5", *FOR, "--reason", "x", "--state", operator_env.state)
    assert run_in_process("hold", *place).code == 2
    # The cohort has not begun, so the book answers that there is nothing to hold yet.
    assert "0.00 available" in run_in_process("hold", "place", *place).sentence


@pytest.mark.parametrize("words", [("--help",), ("token", "list", "--help")])
def test_a_full_disk_below_the_output_is_one_sentence(words: tuple[str, ...]) -> None:
    """Exit code 1 tells a script that the file it writes is not whole."""
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [sys.executable, "-c", MAIN, *words],
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    sentence = "the output or the book cannot be written: No space left on device"
    assert (ran.returncode, ran.stderr) == (1, f"cohortd: {sentence}\n")
