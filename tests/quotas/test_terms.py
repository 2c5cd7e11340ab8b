"""Tranches, rollover, holds and forfeits, cycle by cycle and to the second."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quotas.decisions.snapshot import Snapshot
from quotas.enforcement.decide import decide
from quotas.ledger.balance import balance
from quotas.ledger.expiry import forecast_expiries
from quotas.ledger.holds import Hold, draws, end_hold, grants_outliving, hold_transfer
from quotas.ledger.posting import Posting, post_due
from quotas.ledger.transfers import Entry, GrantBalance
from quotas.metering.runs import Run
from quotas.model.program import Policy, Rollover
from quotas.rules import credits, expiry
from quotas.rules.credits import exhaustion_episode
from tests.builders import Z, a_balance_of, a_program, a_run, a_snapshot, a_startup, metered
from tests.quotas.rules.rule_env import announcements, level, violations

DAY_S = 86_400
HALF = Rollover(500_000)


def a_pair(
    rollover: Rollover | None = None, first: int = 100, second: int = 100
) -> list[GrantBalance]:
    """Two tranches, in force from 0 and from 1000; the second ends at 2000."""
    end_s = 2000 if rollover is None else 1000
    rolls_to = None if rollover is None else "g/2"
    terms = {"expires_s": end_s, "rolls_to": rolls_to, "rollover": rollover}
    return [
        a_balance_of("g/1", first, **terms),
        a_balance_of("g/2", second, effective_s=1000, expires_s=2000, created=1),
    ]


def amounts(posting: Posting) -> Counter[str]:
    """The sum of the entries of each account."""
    found: Counter[str] = Counter()
    for transfer in posting.transfers:
        for entry in transfer.entries:
            found[entry.account] += entry.amount_ucr
    return found


def left(posting: Posting) -> dict[str, int]:
    """What each grant has after a posting."""
    return {grant.id: grant.left_ucr for grant in posting.grants}


@pytest.mark.parametrize(
    ("rollover", "second", "expired"),
    [(Rollover(0), 100, 100), (HALF, 150, 50), (Rollover(10**6, 30), 130, 70)],
)
def test_an_unused_tranche_rolls_over_what_is_allowed(
    rollover: Rollover, second: int, expired: int
) -> None:
    """At the next one's start: the allowed part moves, the rest is forfeited, once."""
    posting = post_due(a_program(), a_pair(rollover), metered([], {Z: 1000}))
    assert left(posting) == {"g/1": 0, "g/2": second}
    assert amounts(posting)["expired:spring"] == expired
    assert {transfer.at_s for transfer in posting.transfers} == {1000}
    assert post_due(a_program(), posting.grants, metered([], {Z: 1000})).transfers == ()


@pytest.mark.parametrize(
    ("rollover", "kept"), [(Rollover(10**6, 30), 30), (Rollover(10**6, 130), 130), (HALF, 75)]
)
def test_what_was_advanced_of_a_tranche_rolls_over_no_more_with_it(
    rollover: Rollover, kept: int
) -> None:
    """A tranche and the part advanced from it move what the tranche alone might have moved."""
    first, second = a_pair(rollover)
    ahead = replace(first, id="g/1.7", created=2, left_ucr=50, granted_ucr=50)
    grants = [first, second, ahead]
    posting = post_due(a_program(), grants, metered([], {Z: 1000}))
    assert left(posting) == {"g/1": 0, "g/2": 100 + kept, "g/1.7": 0}
    assert amounts(posting)["expired:spring"] == 150 - kept
    assert sum(f.amount_ucr for f in forecast_expiries(0, grants, [], {Z: 0})[:-1]) == 150 - kept


def test_a_tranche_does_not_end_a_second_early() -> None:
    """I18: at 999 all of it is there; at 1000 usage before has drawn on it first."""
    early = post_due(a_program(), a_pair(HALF), metered([], {Z: 999}))
    assert early.transfers == ()
    run = a_run(start_s=900)
    posting = post_due(a_program(), a_pair(HALF, first=200), metered([run], {Z: 1000}))
    assert amounts(posting)["grant:acme:g/1"] == -200
    assert left(posting) == {"g/1": 0, "g/2": 150}


def test_what_no_tranche_covers_is_the_sponsors() -> None:
    """The first is used up before the second begins: nobody pays that back later."""
    pair = a_pair(first=100, second=1000)
    posting = post_due(a_program(), pair, metered([a_run(end_s=500)], {Z: 500}))
    assert amounts(posting)["overdraft:spring"] == -400
    later = post_due(a_program(), posting.grants, metered([], {Z: 1000}))
    assert (later.transfers, left(later)["g/2"]) == ((), 1000)


@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 700), min_size=1, max_size=6),
    st.integers(0, 3000),
    st.sampled_from([None, Rollover(0), HALF, Rollover(10**6, 40)]),
    st.integers(1, 9000),
)
def test_any_cycles_post_the_same(
    steps: list[int], start_s: int, rollover: Rollover | None, rate: int
) -> None:
    """I5 with tranches: caught up at once or step by step, every account ends the same."""
    until_s = sum(steps)
    start_s = min(start_s, until_s)

    def play(cuts: list[int]) -> Counter[str]:
        runs, grants = [a_run(start_s=start_s, rate_ucr_per_h=rate)], a_pair(rollover)
        total: Counter[str] = Counter()
        now_s = 0
        for cut in cuts:
            now_s += cut
            if now_s == until_s:
                runs = [Run(**{**_fields(run), "end_s": until_s}) for run in runs]
            known = [run for run in runs if run.start_s <= now_s]
            posting = post_due(a_program(), grants, metered(known, {Z: now_s}), now_s)
            runs = list(posting.runs.values()) or runs
            grants = list(posting.grants)
            total.update(amounts(posting))
        assert sum(total.values()) == 0
        return Counter({account: ucr for account, ucr in total.items() if ucr})

    assert dict(play(steps)) == dict(play([until_s]))


def _fields(run: Run) -> dict[str, object]:
    return {name: getattr(run, name) for name in run.__slots__}


# Levels and what is told ahead.


@pytest.mark.parametrize("second", [5000, 0])
def test_a_used_up_tranche_is_an_exhaustion(second: int) -> None:
    """Whatever is dated later: every server has its final notice, and the level is closed."""
    pair = a_pair(first=0, second=second)
    snapshot = a_snapshot(500, a_program(), [a_run(posted_until_s=500)], pair)
    (violation,) = violations(credits.RULE, snapshot)
    assert (violation.rule, violation.deadline_s) == ("credits", 500 + 1800)
    assert level(snapshot, "acme") == (
        "closed",
        "its credits are used up: the final notice runs",
    )


def test_who_was_stopped_at_a_used_up_tranche_is_open_at_the_next() -> None:
    """Stopped until the second before, though nothing burns; what begins is more granted."""
    announced = frozenset({("acme", exhaustion_episode(0))})
    pair = a_pair(first=0, second=5000)
    early, then = (
        a_snapshot(at_s, a_program(), [], pair, announced=announced) for at_s in (999, 1000)
    )
    assert level(early, "acme") == ("stopped", "its credits are used up")
    assert level(then, "acme")[0] == "open"


RESERVE = 1800 + 30 + 300
"""What a notice, a cycle and a stop cost at 1 ucr a second."""


def running_out(first: int, second: int) -> Snapshot:
    """Acme runs one server at 1 ucr a second on a tranche of 0 and one of a day later."""
    pair = [
        a_balance_of("g/1", first, expires_s=90 * DAY_S),
        a_balance_of("g/2", second, effective_s=DAY_S, expires_s=90 * DAY_S, created=1),
    ]
    return a_snapshot(0, a_program(), [a_run()], pair)


@pytest.mark.parametrize(
    ("first", "second", "exhausted_s"),
    [
        (DAY_S + RESERVE - 1, 5000, DAY_S - 1),
        (DAY_S + RESERVE, 5000, DAY_S + 5000),
        (RESERVE + 3600, 10**6, 3600),
    ],
)
def test_the_runway_goes_on_through_a_tranche_that_arrives_first(
    first: int, second: int, exhausted_s: int
) -> None:
    """A second too short, the first tranche's end is the exhaustion; else the second's is.

    It is told at the thresholds of the policy, and to the second an edge of the cycle.
    """
    snapshot = running_out(first, second)
    assert snapshot.balances["acme"].exhausted_s == exhausted_s
    assert {exhausted_s, exhausted_s - 600} <= set(decide(snapshot).edges)
    announced = announcements(credits.RUNWAY, snapshot)
    passed = [t for t in Policy().exhaustion_notices_s if exhausted_s <= t]
    assert [(each.startup, each.episode, each.at_s) for each in announced] == [
        ("acme", f"runway:{min(passed)}:{first}", exhausted_s)
    ] * bool(passed)


def test_a_forfeit_is_told_once_for_each_threshold() -> None:
    """At 30, 7 and 1 days, the nearest of several, for the sum at the present burn."""
    end_s = 40 * DAY_S
    grant = a_balance_of(left_ucr=50 * DAY_S, expires_s=end_s)
    announced: set[tuple[str, str]] = set()
    heard = []
    for day in range(40):
        run = a_run(posted_until_s=day * DAY_S)
        own = a_balance_of(left_ucr=grant.left_ucr - day * DAY_S, expires_s=end_s)
        snapshot = a_snapshot(
            day * DAY_S, a_program(), [run], [own], announced=frozenset(announced)
        )
        for found in announcements(expiry.RULE, snapshot):
            announced.add((found.startup, found.episode))
            heard.append(day)
            assert (found.at_s, found.facts.amount_ucr) == (end_s, 864_000)
    assert heard == [10, 33, 39]


def test_two_forfeits_at_once_are_both_told() -> None:
    """Each in a notice of its own, in the cycle that decides it."""
    grants = [a_balance_of(name, expires_s=40 * DAY_S) for name in ("g1", "g2")]
    decided = decide(a_snapshot(39 * DAY_S, a_program(), [], grants))
    announced = [notice.episode for notice in decided.notices if notice.rule == "expiry"]
    assert announced == [f"expiry:{name}:{DAY_S}" for name in ("g1", "g2")]
    assert [d.episode for d in decided.decisions if d.rule == "expiry"] == announced


@settings(max_examples=80)
@given(
    st.integers(0, 999),
    st.sampled_from([None, Rollover(0), HALF, Rollover(10**6, 40)]),
    st.integers(0, 9000),
    st.integers(0, 2000),
)
def test_what_is_foretold_is_what_is_posted(
    now_s: int, rollover: Rollover | None, rate: int, first: int
) -> None:
    """Where the burn stays as it is, the forecast is the forfeit to the micro-credit."""
    grants, run = a_pair(rollover, first=first, second=700), a_run(rate_ucr_per_h=rate)
    posting = post_due(a_program(), grants, metered([run], {Z: now_s}), now_s)
    runs = list(posting.runs.values())
    ahead = forecast_expiries(now_s, posting.grants, runs, {Z: now_s})
    last = post_due(a_program(), posting.grants, metered(runs, {Z: 2000}), 2000)
    assert sum(f.amount_ucr for f in ahead) == amounts(last)["expired:spring"]


def test_a_balance_says_what_expires_next_and_what_comes_later() -> None:
    """If nothing more burned: of the first tranche what is not kept, at the second's start."""
    own = balance("acme", 500, a_pair(HALF), [], {Z: 500}, 0)
    assert own.expiring is not None
    assert (own.expiring.at_s, own.expiring.amount_ucr) == (1000, 50)
    assert (own.later_s, own.later_ucr, own.next_edge_s) == (1000, 100, 1000)


# Holds.


def a_hold(*drawn: tuple[str, int], expires_s: int = 900) -> Hold:
    """A hold of acme with these draws."""
    return Hold(
        "h1", "acme", "spring", 0, expires_s, tuple(Entry(f"grant:acme:{g}", n) for g, n in drawn)
    )


def test_a_hold_draws_only_on_grants_that_outlive_it() -> None:
    """In burn order: one that ends a second before is left alone, one that ends with it is not."""
    grants = [
        a_balance_of("short", 50, expires_s=899),
        a_balance_of("exact", 50, expires_s=900),
        a_balance_of("long", 50),
    ]
    found = draws(grants_outliving(grants, 0, 900), 70)
    assert found == (Entry("grant:acme:exact", 50), Entry("grant:acme:long", 20))


@given(st.lists(st.integers(1, 50), min_size=1, max_size=4), st.data())
def test_the_rest_of_a_hold_returns_last_drawn_first(drawn: list[int], data: st.DataObject) -> None:
    """What is settled is spent in draw order; with the rest it is the hold, exactly."""
    hold = a_hold(*((f"g{n}", amount) for n, amount in enumerate(drawn)))
    settled = data.draw(st.integers(0, sum(drawn)))
    ended = end_hold(hold, "settle", 5, "why", settled)
    back = {e.account: e.amount_ucr for e in ended.entries if e.account.startswith("grant:")}
    kept = [amount - back.get(f"grant:acme:g{n}", 0) for n, amount in enumerate(drawn)]
    assert sum(kept) == settled
    for n, amount in enumerate(kept):
        assert amount == drawn[n] or not any(kept[n + 1 :])
    assert hold_transfer(hold, "why").entries[-1].amount_ucr == sum(drawn)


def test_a_hold_expires_at_its_instant_and_then_the_grant() -> None:
    """I8, I18: it returns by one transfer; a grant that ends then forfeits it too."""
    grants = [a_balance_of("g1", 10, expires_s=900)]
    hold = a_hold(("g1", 40))
    early = post_due(a_program(), grants, metered([], {Z: 899}), 899, (hold,))
    assert (early.transfers, early.holds) == ((), (hold,))
    posting = post_due(a_program(), grants, metered([], {Z: 900}), 900, (hold,))
    assert [transfer.kind for transfer in posting.transfers] == ["hold-expiry", "expiry"]
    assert posting.transfers[0].key == hold.end_key
    assert (posting.holds, amounts(posting)["expired:spring"]) == ((), 50)


def test_held_credits_are_posted_and_not_available() -> None:
    """available = posted - accrued - held - reserve, with a hold among it."""
    own = balance("acme", 0, [a_balance_of(left_ucr=60)], [], {}, 0, [a_hold(("g1", 40))])
    assert (own.posted_ucr, own.held_ucr, own.available_ucr) == (100, 40, 60)
    assert own.next_edge_s == 900


def test_a_hold_outlasts_its_startups_place_in_the_file() -> None:
    """A hold of a startup that left the program still expires."""
    program = a_program(a_startup("birch"))
    hold = a_hold(("g1", 40))
    posting = post_due(program, [a_balance_of("g1", 0)], metered([], {Z: 900}), 900, (hold,))
    assert left(posting) == {"g1": 40}
