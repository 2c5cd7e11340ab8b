"""Odd input of the command line: refused in one sentence that shows no secret."""

from __future__ import annotations

from uuid import UUID

from .command import environment, run_in_process
from .operator_env import OperatorEnv

SECRET = str(UUID(int=7))


def test_a_secret_in_the_wrong_variable_is_not_shown(operator_env: OperatorEnv) -> None:
    """Access key and secret key are easily swapped: the refusal names the variable alone."""
    swapped = environment(SCW_ACCESS_KEY=SECRET, SCW_SECRET_KEY="SCW" + "X" * 17)
    ran = run_in_process("init", "--program", operator_env.folder / "first.toml", env=swapped)
    assert ran.code == 2 and SECRET not in ran.err
    assert ran.sentence.startswith("SCW_ACCESS_KEY is missing or not SCW and 17 letters or digits:")
