"""A plan shows every change, and asks before each change that takes something away."""

from __future__ import annotations

import re

import pytest

from quotas.config.diff import Change, Usage, diff
from quotas.model.program import ProgramError
from tests.quotas.config.program_texts import ACME, BRIGHT, GOOD
from tests.quotas.config.test_load import good

EIGHT = "H100-SXM-8-80G@fr-par-2"
USAGE: Usage = {"acme": {EIGHT: 8}, "bright": {EIGHT: 16}}
(BRIGHT_TABLE,) = re.findall(r"\[cohort\.spring\.startup\.bright\]\n(?:.+\n)+", GOOD)

HARMLESS: dict[str, tuple[str, str, str]] = {
    "a higher limit": ("limit = { h100 = 24 }", "limit = { h100 = 25 }", f"{ACME}.limit.h100"),
    "a lower limit above usage": (
        "limit = { h100 = 24 }",
        "limit = { h100 = 8 }",
        f"{ACME}.limit.h100",
    ),
    "no limit any more": ("limit = { h100 = 24 }", "", f"{ACME}.limit.h100"),
    "a higher guarantee": (
        "nominal = { h100 = 8 }",
        "nominal = { h100 = 7, l4 = 1 }",
        f"{ACME}.nominal.l4",
    ),
    "another contact": ("cto@example", "ceo@example", f"{ACME}.contacts"),
    "a longer notice": ('minimum = "30m"', 'minimum = "1h"', "policy.notice.minimum"),
    "mode off": ('budget = "350000"', 'budget = "350000"\nmode = "off"', "program.mode"),
    "a later end": ("ends = 2027-12-01", "ends = 2027-12-02", "cohort.summer.ends"),
    "an earlier start": (
        "starts = 2027-06-01",
        "starts = 2027-05-31",
        "cohort.summer.startup.cleo.projects",
    ),
    "more may be taken ahead": (
        "[policy.notice]",
        '[policy]\nself_advance = "0.75"\n[policy.notice]',
        "policy.self_advance",
    ),
    "chain heads are mailed": (
        'minimum = "30m"',
        'minimum = "30m"\nchain_heads = true',
        "policy.notice.chain_heads",
    ),
}

CONFIRMED: dict[str, tuple[str, str, str, str]] = {
    "less may be taken ahead": (
        "[policy.notice]",
        '[policy]\nself_advance = "0"\n[policy.notice]',
        "policy.self_advance",
        "startups may take less of their next tranche ahead",
    ),
    "enforcing": (
        'budget = "350000"',
        'budget = "350000"\nmode = "enforce"',
        "program.mode",
        "cohortd will stop servers",
    ),
    "a limit below usage": (
        "limit = { h100 = 24 }",
        "limit = { h100 = 7 }",
        f"{ACME}.limit.h100",
        "acme uses 8 GPUs, above 7",
    ),
    "a guarantee below usage": (
        "nominal = { h100 = 8 }",
        "nominal = { h100 = 7 }",
        f"{ACME}.nominal.h100",
        "acme uses 8 GPUs, above 7",
    ),
    "a borrowing limit below usage": (
        "nominal = { h100 = 16 }\ngrants",
        "nominal = { h100 = 15 }\nborrowing_limit = { h100 = 0 }\ngrants",
        f"{BRIGHT}.borrowing_limit.h100",
        "bright uses 16 GPUs, above 15 + 0",
    ),
    "no more borrowing": (
        "weight = 1",
        "weight = 0",
        f"{ACME}.weight",
        "acme may no longer borrow, and has running servers",
    ),
    "a startup that leaves": (
        BRIGHT_TABLE,
        "",
        BRIGHT,
        "bright leaves the program: its servers are stopped, its books stay",
    ),
    "another project": (
        "11111111-1111-4111-8111-111111111111",
        "44444444-4444-4444-8444-444444444444",
        f"{ACME}.projects",
        "the startup loses a project, or a part of its time",
    ),
    "a flavor less": (
        "H100-SXM-8-80G@fr-par-2",
        "H100-SXM-4-80G@fr-par-2",
        f"{ACME}.flavors.h100",
        "acme runs 8 GPUs in h100 and loses a flavor there",
    ),
    "a flavor less in the pool": (
        '"H100-1-80G@fr-par-2", ',
        "",
        "pool.h100.flavors",
        "a flavor leaves a pool with 24 GPUs in use",
    ),
    "the backing of a pool": (
        "gpus = 40",
        'gpus = 40\nbacking = "reserved"',
        "pool.h100.backing",
        "lent GPUs are reclaimed even while Scaleway has no stock",
    ),
    "no contact any more": (
        'contacts = ["mailto://cto@example.com"]',
        "contacts = []",
        f"{ACME}.contacts",
        "acme loses its last contact, and gets no notices",
    ),
    "an earlier end": (
        "ends = 2027-12-01",
        "ends = 2027-11-30",
        "cohort.summer.ends",
        "its servers are stopped earlier",
    ),
    "a later start": (
        "starts = 2027-06-01",
        "starts = 2027-06-02",
        "cohort.summer.starts",
        "usage before the new start is not charged",
    ),
    "a shorter notice": (
        'minimum = "30m"',
        'minimum = "29m"',
        "policy.notice.minimum",
        "servers are stopped with less notice",
    ),
    "a warning less": (
        'minimum = "30m"',
        'exhaustion = ["1d", "1h", "10m"]',
        "policy.notice.exhaustion",
        "an announcement of exhaustion is dropped",
    ),
    "a warning of the end less": (
        'minimum = "30m"',
        'end = ["1d"]',
        "policy.notice.end",
        "an announcement of the cohort's end is dropped",
    ),
    "a smaller reserve": (
        'minimum = "30m"',
        'minimum = "30m"\n[policy.stop]\nlatency = "1m"',
        "policy.stop.latency",
        "the reserve for the time of a stop is smaller",
    ),
    "a zone less": (
        'budget = "350000"',
        'budget = "350000"\nzones = ["fr-par-2"]',
        "program.zones",
        "a server that starts in a removed zone is not metered",
    ),
}

REFUSED: dict[str, tuple[str, str, str]] = {
    "a grant's amount": (
        'credits = "60000", tranches',
        'credits = "50000", tranches',
        f"{ACME}.grants.acme-1.credits = 50000.00 differs from 60000.00 in the book, and a posted"
        " grant does not change; write 60000.00, or void acme-1 and grant under a new id.",
    ),
    "a grant's expiry": (
        "expires = 2027-03-01",
        "expires = 2027-03-02",
        f"{BRIGHT}.grants.bright-1.expires = 2027-03-01T23:00:00Z differs from"
        " 2027-02-28T23:00:00Z in the book, and a posted grant does not change; write"
        " 2027-02-28T23:00:00Z, or void bright-1 and grant under a new id.",
    ),
    "a grant that is gone": (
        'grants = [ { id = "acme-1", credits = "60000", tranches = "none" } ]',
        "",
        f"{ACME}.grants.acme-1 = 60000.00 credits is missing in the file, and a posted grant"
        " stays; put it back, then void acme-1.",
    ),
    "a grant of another startup": (
        BRIGHT_TABLE,
        BRIGHT_TABLE.replace("bright]", "dora]"),
        f"{BRIGHT}.grants.bright-1 was posted to bright, and the file gives it to dora; use a new"
        " id there.",
    ),
    "a startup that changes its cohort": (
        "[cohort.summer.startup.cleo]",
        "[cohort.spring.startup.cleo]",
        "cohort.spring.startup.cleo = cleo is in cohort summer in the book, and its credits"
        " stay there; give it another name in the new cohort.",
    ),
}


def _changes(old: str, new: str) -> dict[str, Change]:
    return {change.path: change for change in diff(good(), good(old, new), USAGE)}


@pytest.mark.parametrize("claim", HARMLESS)
def test_harmless_change_is_shown_and_needs_no_word(claim: str) -> None:
    """What takes nothing from anybody is listed, and not to be confirmed."""
    old, new, path = HARMLESS[claim]
    assert not _changes(old, new)[path].needs_confirmation


@pytest.mark.parametrize("claim", CONFIRMED)
def test_change_that_takes_something_away_is_confirmed(claim: str) -> None:
    """What stops a server, lowers a share in use or loosens a guard says so, with why."""
    old, new, path, why = CONFIRMED[claim]
    change = _changes(old, new)[path]
    assert (change.needs_confirmation, change.reason) == (True, why)


@pytest.mark.parametrize("claim", REFUSED)
def test_posted_grant_does_not_change(claim: str) -> None:
    """A grant in the book is refused in any other form, in one sentence with the way out."""
    old, new, sentence = REFUSED[claim]
    with pytest.raises(ProgramError) as refusal:
        _changes(old, new)
    assert str(refusal.value) == sentence


def test_same_program_changes_nothing() -> None:
    """A file that says what is in force has an empty plan, also in enforce mode."""
    enforce = good('budget = "350000"', 'budget = "350000"\nmode = "enforce"')
    assert diff(enforce, enforce, USAGE) == ()


def test_change_shows_before_and_after() -> None:
    """A change carries both values as an operator would read them."""
    assert _changes("limit = { h100 = 24 }", "")[f"{ACME}.limit.h100"] == Change(
        f"{ACME}.limit.h100", "24", None, needs_confirmation=False, reason=""
    )


def test_startup_that_leaves_is_one_change() -> None:
    """The keys below a startup that leaves are not listed one by one."""
    assert list(_changes(BRIGHT_TABLE, "")) == [BRIGHT]


def test_new_grant_is_a_change_of_its_own() -> None:
    """A second grant under a new id is shown with its credits and needs no word."""
    changes = _changes(
        'tranches = "none" }', 'tranches = "none" }, { id = "acme-2", credits = "5" }'
    )
    assert changes[f"{ACME}.grants.acme-2.credits"].after == "5.00"
    assert not any(change.needs_confirmation for change in changes.values())


def test_smaller_pool_is_confirmed_only_in_use() -> None:
    """A pool may shrink to what is in use; below that it is to be confirmed."""
    text = GOOD.replace("nominal = { h100 = 16 }", "").replace("nominal = { h100 = 8 }", "")
    old, new = good(GOOD, text), good(GOOD, text.replace("gpus = 40", "gpus = 23"))
    (change,) = diff(old, new, USAGE)
    assert change == Change("pool.h100.gpus", "40", "23", True, "24 GPUs are in use, above 23")
    assert not diff(old, new, {"acme": {EIGHT: 23}})[0].needs_confirmation


def test_what_joins_a_pool_comes_under_its_limits() -> None:
    """A flavor that runs joins a pool in which less is allowed: the pool asks, not the limit."""
    old = good('"H100-1-80G@fr-par-2", ', "")
    usage = {"acme": {"H100-1-80G@fr-par-2": 25}}
    marked = [(c.path, c.reason) for c in diff(old, good(), usage) if c.needs_confirmation]
    assert marked == [("pool.h100.flavors", "acme uses 25 GPUs, above 24")]
    within = diff(old, good(), {"acme": {"H100-1-80G@fr-par-2": 24}})
    assert not any(change.needs_confirmation for change in within)


def test_first_program_is_all_new() -> None:
    """Where nothing is in force every path is new, and only what stops a server is asked."""
    changes = diff(None, good(), {"acme": {EIGHT: 25}})
    assert all(change.before is None for change in changes)
    assert [c.path for c in changes if c.needs_confirmation] == [f"{ACME}.limit.h100"]
