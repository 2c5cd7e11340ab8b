"""Posting: which charge is due when, on which grant, and what expires at a grant's end."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from quotas.ledger.posting import Posting, post_due
from quotas.ledger.transfers import GrantBalance, Transfer, burn_order
from quotas.metering.runs import Run
from quotas.model.program import Program
from quotas.model.units import Period, cost_ucr, parse_instant
from tests.builders import Z, a_balance_of, a_program, a_run, a_startup, metered


def post(
    runs: list[Run],
    grants: list[GrantBalance],
    confirmed_s: int,
    program: Program | None = None,
) -> Posting:
    """What is posted when zone Z is known until `confirmed_s`."""
    return post_due(program or a_program(), grants, metered(runs, {Z: confirmed_s}))


def moves(posting: Posting) -> list[tuple[str, int, dict[str, int]]]:
    """(kind, instant, entries) of each transfer."""
    return [
        (t.kind, t.at_s, {e.account: e.amount_ucr for e in t.entries}) for t in posting.transfers
    ]


def test_an_hour_is_posted_and_less_is_not() -> None:
    """A quiet run is posted hourly; before, it accrues and writes nothing."""
    assert post([a_run()], [a_balance_of()], 3599).transfers == ()
    posting = post([a_run()], [a_balance_of()], 3600)
    assert moves(posting) == [("charge", 3600, {"grant:acme:g1": -3600, "usage:acme": 3600})]
    (run,) = posting.changed
    assert run.posted_until_s == 3600
    assert posting.runs[run.id] == run
    assert posting.grants[0].left_ucr == 1_000_000 - 3600


def test_posting_again_from_where_it_ended_posts_nothing() -> None:
    """The same instant twice charges once: what is posted is remembered on the run."""
    once = post([a_run()], [a_balance_of()], 7200)
    again = post(list(once.runs.values()), list(once.grants), 7200)
    assert (again.transfers, again.grants) == ((), once.grants)


def test_a_month_ends_in_utc() -> None:
    """A charge is cut at the UTC month's end, and falls due there."""
    may_s = parse_instant("2027-05-01T00:00:00Z")
    grant = a_balance_of(expires_s=may_s * 2)
    run = a_run(start_s=may_s - 60)
    program = a_program(ends_s=may_s * 2)
    assert post([run], [grant], may_s - 1, program).transfers == ()
    assert [m[1] for m in moves(post([run], [grant], may_s, program))] == [may_s]
    assert [m[1] for m in moves(post([run], [grant], may_s + 30, program))] == [may_s, may_s + 30]


def test_a_grants_start_and_end_cut_the_charge() -> None:
    """Each piece draws only on the grants in force for all of it (I18)."""
    grants = [
        a_balance_of("old", 10_000, expires_s=100),
        a_balance_of("new", 10_000, effective_s=250),
    ]
    assert moves(post([a_run()], grants, 300)) == [
        ("charge", 100, {"grant:acme:old": -100, "usage:acme": 100}),
        ("expiry", 100, {"grant:acme:old": -9900, "expired:spring": 9900}),
        ("charge", 250, {"overdraft:spring": -150, "usage:acme": 150}),
        ("charge", 300, {"grant:acme:new": -50, "usage:acme": 50}),
    ]


def test_a_grants_edge_alone_makes_a_charge_due() -> None:
    """Exactly at a grant's end the run is posted, though no hour has passed."""
    posting = post([a_run()], [a_balance_of(expires_s=100)], 100)
    assert [m[:2] for m in moves(posting)] == [("charge", 100), ("expiry", 100)]


def test_runs_draw_in_the_order_of_time() -> None:
    """An earlier period is charged first, so the grant that ran out is the later one's loss."""
    early = a_run("s2", 0, end_s=50)
    late = a_run("s1", 60, end_s=90)
    posting = post([late, early], [a_balance_of(left_ucr=50)], 100)
    assert [m[2] for m in moves(posting)] == [
        {"grant:acme:g1": -50, "usage:acme": 50},
        {"overdraft:spring": -30, "usage:acme": 30},
    ]


def test_another_startups_grant_is_never_drawn_on() -> None:
    """Birch's credits are birch's: acme without a grant overdraws its sponsor."""
    posting = post([a_run(end_s=9)], [a_balance_of(startup="birch")], 9)
    assert moves(posting) == [("charge", 9, {"overdraft:spring": -9, "usage:acme": 9})]


def test_a_grant_is_forfeited_only_when_every_zone_is_known_past_its_end() -> None:
    """Usage before the end draws first: while a zone is dark, the grant is kept for it."""
    program = a_program(zones=(Z, "pl-waw-2"))
    run = a_run("s9", zone="pl-waw-2", posted_until_s=0)
    grants = [a_balance_of(left_ucr=500, expires_s=100)]
    dark = metered([run], {Z: 5000, "pl-waw-2": 40})
    assert post_due(program, grants, dark).transfers == ()
    posting = post_due(program, grants, metered([run], {Z: 5000, "pl-waw-2": 300}))
    assert moves(posting) == [
        ("charge", 100, {"grant:acme:g1": -100, "usage:acme": 100}),
        ("expiry", 100, {"grant:acme:g1": -400, "expired:spring": 400}),
        ("charge", 300, {"overdraft:spring": -200, "usage:acme": 200}),
    ]


def test_a_grant_waits_for_a_dark_zone_in_which_nothing_was_seen_yet() -> None:
    """A server may have run there before the end: what runs elsewhere does not decide."""
    run = a_run(posted_until_s=200)
    known = metered([run], {Z: 300, "pl-waw-2": 40})
    program = a_program(zones=(Z, "pl-waw-2"))
    assert post_due(program, [a_balance_of(expires_s=100)], known).transfers == ()


def test_a_grant_waits_for_usage_that_has_no_price_yet() -> None:
    """What ran before the end and cannot be priced yet keeps the startup's grant open."""
    grants = [a_balance_of(expires_s=100), a_balance_of(startup="birch", expires_s=100)]
    posting = post([a_run(rate_ucr_per_h=None)], grants, 5000)
    assert [(t.kind, t.startup) for t in posting.transfers] == [("expiry", "birch")]


def test_a_grant_without_rest_or_before_its_end_is_left_alone() -> None:
    """There is nothing to forfeit of an empty grant, and nothing to take before the end."""
    grants = [a_balance_of("empty", 0, expires_s=10), a_balance_of("young", expires_s=101)]
    assert post([], grants, 100).transfers == ()


def test_a_startup_that_left_is_charged_under_its_grants_cohort() -> None:
    """Usage after leaving is still recorded (I18)."""
    program = a_program(a_startup("birch"))
    posting = post([a_run(end_s=9)], [a_balance_of(cohort="autumn", left_ucr=4)], 9, program)
    (transfer,) = posting.transfers
    assert (transfer.cohort, transfer.startup) == ("autumn", "acme")


def test_a_startup_of_no_known_cohort_waits() -> None:
    """Neither in the program nor ever granted: its run stays unposted, the others go on."""
    runs = [a_run(end_s=9), a_run("s2", end_s=9, startup="birch")]
    posting = post(runs, [], 9, a_program(a_startup("birch")))
    assert [t.startup for t in posting.transfers] == ["birch"]
    assert posting.runs["s1@0"].posted_until_s == 0


# Against a model that pays second by second.

grant_terms = st.lists(
    st.tuples(st.integers(0, 9000), st.integers(0, 9000), st.integers(1, 9000), st.integers(-1, 1)),
    max_size=4,
)


def grants_of(terms: list[tuple[int, int, int, int]]) -> list[GrantBalance]:
    """Grants with random terms, in the order of creation."""
    return [
        a_balance_of(
            f"g{n}",
            left,
            effective_s=start_s,
            expires_s=start_s + length_s,
            priority=priority,
            created=n,
        )
        for n, (left, start_s, length_s, priority) in enumerate(terms)
    ]


def model(rate: int, grants: list[GrantBalance], until_s: int) -> tuple[dict[str, int], int]:
    """What each grant has left and what was overdrawn, paying each second on its own."""
    left, overdraft = {g.id: g.left_ucr for g in grants}, 0
    for second in range(until_s):
        period = Period(second, second + 1)
        due = cost_ucr(rate, 0, period)
        for grant in burn_order(grants, period):
            paid = min(due, left[grant.id])
            left[grant.id] -= paid
            due -= paid
        overdraft += due
    return left, overdraft


def total(transfers: list[Transfer], account: str) -> int:
    """Sum of an account's entries."""
    return sum(e.amount_ucr for t in transfers for e in t.entries if e.account == account)


@given(st.integers(0, 20_000), grant_terms, st.lists(st.integers(1, 4000), min_size=1, max_size=4))
def test_posting_in_any_steps_pays_as_second_by_second(
    rate: int, terms: list[tuple[int, int, int, int]], steps: list[int]
) -> None:
    """I5 with grants: whatever the cycles, each grant pays what the model says it pays."""
    first = grants_of(terms)
    runs, grants = [a_run(rate_ucr_per_h=rate)], first
    transfers: list[Transfer] = []
    confirmed_s = 0
    for step_s in steps:
        confirmed_s += step_s
        if confirmed_s == sum(steps):
            runs = [replace(run, end_s=confirmed_s) for run in runs]
        posting = post(runs, grants, confirmed_s)
        runs, grants = list(posting.runs.values()), list(posting.grants)
        transfers += posting.transfers
    left, overdraft = model(rate, first, confirmed_s)
    assert total(transfers, "usage:acme") == cost_ucr(rate, 0, Period(0, confirmed_s))
    assert -total(transfers, "overdraft:spring") == overdraft
    for grant in first:
        ended = grant.expires_s <= confirmed_s
        account = total(transfers, grant.account) + grant.left_ucr
        assert account == (0 if ended else left[grant.id])
    lost = sum(left[g.id] for g in first if g.expires_s <= confirmed_s)
    assert total(transfers, "expired:spring") == lost
    assert len({t.key for t in transfers}) == len(transfers)
