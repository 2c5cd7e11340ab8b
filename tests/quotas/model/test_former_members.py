"""A startup that left keeps its projects until another startup has them."""

from __future__ import annotations

from dataclasses import replace

from quotas.model.former_members import with_former_members
from quotas.model.program import Cohort, Program, Startup, Tenure


def program(*startups: Startup, starts_s: int = 0) -> Program:
    """A program of one cohort, or of none where nobody is in it."""
    cohorts = (Cohort("spring", starts_s, 1000, startups),) if startups else ()
    return Program("p", 1, cohorts=cohorts)


def startup(name: str, *projects: Tenure) -> Startup:
    """A startup of the cohort."""
    return Startup(name, "spring", projects, contacts=(f"mailto://{name}@x.example",))


ACME = startup("acme", Tenure("one", 0))
BIRCH = startup("birch", Tenure("two", 0))


def test_who_left_is_known_with_projects_contacts_and_cohort() -> None:
    """It is no member, it has no quota, and what its project runs is still its own."""
    after = with_former_members(program(BIRCH), [program(ACME, BIRCH)])
    assert after.startup("acme") is None and after.startups() == (BIRCH,)
    assert after.former_members() == (ACME,) and after.known("acme") == ACME
    assert after.owner("one", 500) == ACME and after.owner("two", 500) == BIRCH
    assert with_former_members(program(), [program(ACME)]).cohort("spring").starts_s == 0


def test_it_is_kept_through_later_versions_and_through_json() -> None:
    """However many versions follow, stored with those who left or without."""
    versions = [program(ACME, BIRCH), program(BIRCH)]
    plain = with_former_members(program(BIRCH, starts_s=7), versions)
    stored = with_former_members(versions[1], versions[:1])
    assert with_former_members(program(BIRCH, starts_s=7), [versions[0], stored]) == plain
    assert Program.from_json(plain.to_json()) == plain
    assert with_former_members(plain, versions) == plain


def test_who_comes_back_is_a_member_again() -> None:
    """With what the newest version says of it, and nothing of the old one."""
    back = startup("acme", Tenure("three", 0))
    after = with_former_members(program(back), [program(ACME), program(BIRCH)])
    assert [s.name for s in after.former_members()] == ["birch"]
    assert after.owner("one", 0) is None and after.owner("three", 0) == back


def test_a_project_that_somebody_else_has_had_since_is_not_the_leavers() -> None:
    """From the instant on at which it passed; not even when the heir's own tenure is over."""
    successor = startup("birch", Tenure("one", 300, 600))
    after = with_former_members(program(successor), [program(ACME)])
    assert after.owner("one", 299) is not None and after.owner("one", 299) != successor
    assert after.owner("one", 300) == successor
    assert after.owner("one", 600) is None
    gone = with_former_members(program(), [program(ACME), after])
    names = [owner.name if (owner := gone.owner("one", at)) else None for at in (0, 300, 600)]
    assert names == ["acme", "birch", None]


def test_a_tenure_that_ended_before_its_startup_left_stays_ended() -> None:
    """So an operator ends the metering of a project: by its last instant, before the leaving."""
    ended = startup("acme", Tenure("one", 0, 400))
    after = with_former_members(program(BIRCH), [program(ended, BIRCH)])
    assert after.owner("one", 399) is not None and after.owner("one", 400) is None


def test_an_earlier_owners_tenure_takes_nothing_from_who_left() -> None:
    """Birch had the project first and gave it to acme, which left."""
    first, then = startup("birch", Tenure("one", 0, 300)), startup("acme", Tenure("one", 300))
    after = with_former_members(program(first), [program(first, then)])
    owners = [owner.name for at in (0, 300, 900) if (owner := after.owner("one", at))]
    assert owners == ["birch", "acme", "acme"]
    assert replace(after, former=()).owner("one", 900) is None
