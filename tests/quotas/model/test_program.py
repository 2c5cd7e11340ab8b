"""The look-ups of a program, and its round trip through the book."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotas.model.program import Cohort, Grant, Policy, Pool, Program, Startup, Tenure

INSTANTS = st.integers(0, 4_102_444_800)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}", fullmatch=True)
GPUS = st.integers(0, 10_000_000)
FLAVORS = st.lists(st.sampled_from(["H100-1-80G@fr-par-2", "L4-1-24G@pl-waw-2"])).map(tuple)
LIMITS = st.dictionaries(NAMES, st.none() | GPUS, max_size=3)
GRANTS = st.builds(
    Grant,
    id=NAMES,
    amount_ucr=st.integers(1, 2**62),
    effective_s=INSTANTS,
    expires_s=INSTANTS,
    category=st.sampled_from(["sponsor", "bonus"]),
    priority=st.integers(0, 9),
)
STARTUPS = st.builds(
    Startup,
    name=NAMES,
    cohort=NAMES,
    projects=st.lists(st.builds(Tenure, NAMES, INSTANTS, st.none() | INSTANTS)).map(tuple),
    weight=st.integers(0, 9),
    nominal=st.dictionaries(NAMES, GPUS, max_size=3),
    borrowing_limit=LIMITS,
    lending_limit=LIMITS,
    limit=LIMITS,
    flavors=st.dictionaries(NAMES, FLAVORS, max_size=3),
    contacts=st.lists(st.text(max_size=9)).map(tuple),
    grants=st.lists(GRANTS, max_size=3).map(tuple),
)
PROGRAMS = st.builds(
    Program,
    name=NAMES,
    budget_ucr=st.integers(1, 2**62),
    timezone=st.sampled_from(["UTC", "Europe/Paris"]),
    mode=st.sampled_from(["off", "shadow", "enforce"]),
    prices=st.sampled_from(["fixed", "follow"]),
    zones=st.lists(NAMES).map(tuple),
    pools=st.lists(
        st.builds(
            Pool,
            name=NAMES,
            capacity=st.lists(st.tuples(INSTANTS, GPUS), max_size=3).map(tuple),
            backing=st.sampled_from(["reserved", "on-demand"]),
            flavors=FLAVORS,
        ),
        max_size=3,
    ).map(tuple),
    cohorts=st.lists(
        st.builds(Cohort, NAMES, INSTANTS, INSTANTS, st.lists(STARTUPS, max_size=3).map(tuple)),
        max_size=2,
    ).map(tuple),
    policy=st.builds(
        Policy,
        minimum_notice_s=st.integers(60, 9999),
        exhaustion_notices_s=st.lists(st.integers(1, 9999)).map(tuple),
    ),
)

PROJECT = "11111111-1111-4111-8111-111111111111"
BEFORE = Startup("zeta", "spring", projects=(Tenure(PROJECT, 100, 200),))
AFTER = Startup("acme", "spring", projects=(Tenure(PROJECT, 200),))
H100 = Pool("h100", ((100, 40), (200, 48)), flavors=("H100-1-80G@fr-par-2",))
PROGRAM = Program("p", 1, pools=(H100,), cohorts=(Cohort("spring", 100, 300, (BEFORE, AFTER)),))


@given(PROGRAMS)
def test_json_gives_the_same_program_back(program: Program) -> None:
    """from_json undoes to_json, and equal programs have equal text and digest."""
    again = Program.from_json(program.to_json())
    assert again == program
    assert (again.to_json(), again.digest) == (program.to_json(), program.digest)


@given(PROGRAMS)
def test_json_holds_no_float_and_no_look_up(program: Program) -> None:
    """What is stored has whole numbers only, and nothing that follows from the rest."""
    body = json.loads(program.to_json(), parse_float=pytest.fail)
    assert not [key for key in body if key.startswith("_")]


def test_digest_changes_with_one_gpu() -> None:
    """Two programs that differ in one number differ in their digest."""
    other = Program.from_json(PROGRAM.to_json().replace("48", "47"))
    assert other.digest != PROGRAM.digest
    assert len(PROGRAM.digest) == 64


@pytest.mark.parametrize(
    ("instant_s", "owner"), [(99, None), (100, BEFORE), (199, BEFORE), (200, AFTER), (9999, AFTER)]
)
def test_project_passes_at_an_instant(instant_s: int, owner: Startup | None) -> None:
    """Each second of a project has the owner of that second, the end being exclusive."""
    assert PROGRAM.owner(PROJECT, instant_s) == owner
    assert PROGRAM.owner("another", instant_s) is None


@pytest.mark.parametrize(("instant_s", "gpus"), [(99, 0), (100, 40), (199, 40), (200, 48)])
def test_pool_has_the_gpus_of_the_latest_step(instant_s: int, gpus: int) -> None:
    """A pool's capacity is a step function of time, and 0 before its first step."""
    assert H100.gpus_at(instant_s) == gpus


def test_look_ups_find_or_say_none() -> None:
    """Startups come by name; an unknown startup or flavor is None, an unknown cohort an error."""
    assert PROGRAM.startups() == (AFTER, BEFORE)
    assert PROGRAM.startup("acme") == AFTER and PROGRAM.startup("nobody") is None
    assert PROGRAM.pool_of("H100-1-80G@fr-par-2") == H100
    assert PROGRAM.pool_of("L4-1-24G@fr-par-2") is None
    assert PROGRAM.cohort("spring").ends_s == 300
    with pytest.raises(KeyError):
        PROGRAM.cohort("winter")
