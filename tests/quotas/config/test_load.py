"""A good file becomes its program, and every bad file gives one sentence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from quotas.config import schema
from quotas.config.load import parse_program
from quotas.model.program import Policy, Program, ProgramError
from quotas.model.units import UCR_PER_CREDIT, format_instant
from tests.quotas.config.file_errors import FILE_ERRORS
from tests.quotas.config.grant_errors import GRANT_ERRORS
from tests.quotas.config.policy_errors import POLICY_ERRORS
from tests.quotas.config.program_texts import GOOD
from tests.quotas.config.quota_errors import QUOTA_ERRORS

BAD = FILE_ERRORS | GRANT_ERRORS | QUOTA_ERRORS | POLICY_ERRORS

DOCS = Path(__file__).parents[3] / "docs" / "program-file.md"


def good(old: str = "", new: str = "") -> Program:
    """The good program, with one text replaced."""
    return parse_program(GOOD.replace(old, new) if old else GOOD, "program.toml")


@pytest.mark.parametrize("claim", BAD)
def test_bad_file_is_refused_in_one_sentence(claim: str) -> None:
    """A bad file is refused in one sentence that names file, key, value and fix."""
    old, new, sentence = BAD[claim]
    assert GOOD.count(old) >= 1
    with pytest.raises(ProgramError) as refusal:
        parse_program(GOOD.replace(old, new, 1), "program.toml")
    assert str(refusal.value) == f"program.toml: {sentence}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "[program]\nname = 1",
        "program = 1",
        "a = " + "[" * 9999,
        "a = " + "9" * 9999,
        "\x00",
    ],
    ids=["empty", "no TOML", "wrong type", "no table", "too deep", "too long", "control character"],
)
def test_any_text_is_refused_and_nothing_else_raised(text: str) -> None:
    """Whatever stands in a file, the answer is a ProgramError of one line."""
    with pytest.raises(ProgramError) as refusal:
        parse_program(text, "program.toml")
    assert str(refusal.value).startswith("program.toml: ")
    assert "\n" not in str(refusal.value)


def test_long_value_is_cut() -> None:
    """A sentence stays short, however long the value."""
    with pytest.raises(ProgramError) as refusal:
        good("weight = 1", f'weight = "{"9" * 5000}"')
    assert len(str(refusal.value)) < 300


def test_example_of_the_docs_is_a_program() -> None:
    """The complete example in docs/program-file.md parses, and says what it seems to."""
    example = re.search(r"```toml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert example is not None
    program = parse_program(example[1], "docs/program-file.md")
    acme, bright = program.startups()
    amounts = [grant.amount_ucr // 10**4 for grant in acme.grants]
    assert amounts == [6_000_000, 1_200_000, 800_000, 250_050]
    assert [len(grant.tranches) for grant in acme.grants] == [0, 7, 2, 0]
    assert acme.flavors["l40s"] == ("L40S-1-48G@fr-par-2",)
    assert len(bright.projects) == 2
    assert program.policy.daily_burn_ucr == 600 * UCR_PER_CREDIT


def test_docs_name_every_key() -> None:
    """docs/program-file.md has a row for each key that a file may have."""
    documented = set(re.findall(r"^\| `(?:\w+\.)?(\w+)` \|", DOCS.read_text(), re.MULTILINE))
    tables = [
        table
        for table in vars(schema).values()
        if isinstance(table, type) and issubclass(table, BaseModel)
    ]
    keys = {key for table in tables for key in table.model_fields if key not in {"id", "from_"}}
    keys |= {part for key in schema.POLICY_KEYS for part in key.path.split(".")}
    sections = {
        "program",
        "pool",
        "cohort",
        "startup",
        "policy",
        "notice",
        "stop",
        "disruption_budget",
        "standby",
        "reclaim",
        "pacing",
    }
    assert keys - documented == sections | {"until"}


def test_defaults_are_safe() -> None:
    """What a file leaves out is shadow mode, fixed prices, and the policy's defaults."""
    program = good()
    assert (program.mode, program.prices, program.policy) == ("shadow", "fixed", Policy())
    assert program.zones == ("fr-par-1", "fr-par-2", "pl-waw-2")
    assert program.policy.end_notice_s == 86_400
    assert program.pools[0].backing == "on-demand"


def test_values_are_read_as_written() -> None:
    """Credits become ucr, dates local midnights, absent dates the cohort's own."""
    acme = good().startup("acme")
    assert acme is not None
    assert acme.grants[0].amount_ucr == 60_000 * UCR_PER_CREDIT
    assert format_instant(acme.grants[0].effective_s) == "2027-01-04T23:00:00Z"
    assert format_instant(acme.grants[0].expires_s) == "2027-07-04T22:00:00Z"
    assert acme.projects[0].from_s == acme.grants[0].effective_s
    assert acme.limit == {"h100": 24} and acme.flavors["l4"] == ("L4-1-24G@fr-par-2",)


MIDNIGHTS = {
    "the day Paris goes to summer time still begins in winter time": (
        "Europe/Paris", "2027-03-28", "2027-03-27T23:00:00Z",
    ),
    "the day after begins in summer time": (
        "Europe/Paris", "2027-03-29", "2027-03-28T22:00:00Z",
    ),
    "the day Paris goes to winter time still begins in summer time": (
        "Europe/Paris", "2027-10-31", "2027-10-30T22:00:00Z",
    ),
    "the day after begins in winter time": (
        "Europe/Paris", "2027-11-01", "2027-10-31T23:00:00Z",
    ),
    "a leap day is a day": ("Europe/Paris", "2028-02-29", "2028-02-28T23:00:00Z"),
    "a midnight that is skipped is the instant of the change": (
        "America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00Z",
    ),
    "an instant is itself in any timezone": (
        "Europe/Paris", "2027-03-28T02:30:00+02:00", "2027-03-28T00:30:00Z",
    ),
}  # fmt: skip


@pytest.mark.parametrize("claim", MIDNIGHTS)
def test_date_is_local_midnight(claim: str) -> None:
    """A date is its midnight in the program's timezone, through every change of the clock."""
    timezone, written, instant = MIDNIGHTS[claim]
    text = (
        f'[program]\nname = "p"\nbudget = "1"\ntimezone = "{timezone}"\n'
        f"[cohort.c]\nstarts = {written}\nends = 2199-01-01\n"
    )
    program = parse_program(text, "program.toml")
    assert format_instant(program.cohort("c").starts_s) == instant


@pytest.mark.parametrize(
    ("written", "part_ppm"),
    [
        ("", 500_000),
        ('self_advance = "0.25"', 250_000),
        ('self_advance = "0"', 0),
        ('self_advance = "1"', 1_000_000),
    ],
)
def test_half_may_be_taken_ahead_unless_the_file_says_otherwise(
    written: str, part_ppm: int
) -> None:
    """A decimal from 0 to 1; it is read back from the book."""
    program = good("[policy.notice]", f"[policy]\n{written}\n[policy.notice]")
    assert program.policy.self_advance_ppm == part_ppm
    assert Program.from_json(program.to_json()) == program


def test_the_policy_has_safe_defaults() -> None:
    """A quarter of the GPUs an hour, half an hour in place, an hour for what is borrowed."""
    made = Policy()
    assert (made.disruption_budget_ppm, made.standby_stop_after_s, made.minimum_runtime_s) == (
        250_000,
        1800,
        3600,
    )
