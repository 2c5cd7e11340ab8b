"""Tranches, rollover, repayment, holds and forfeits, cycle by cycle and to the second."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quotas.decisions.levels import (
    exhaustion_episode,
    expiry_announcements,
    level,
    out_of_credits,
    runway_announcements,
)
from quotas.decisions.reasons import conclude
from quotas.decisions.snapshot import Snapshot
from quotas.enforcement.decide import decide
from quotas.ledger.balance import balance
from quotas.ledger.between import repayments
from quotas.ledger.expiry import forecast_expiries
from quotas.ledger.holds import Hold, draws, end_hold, grants_outliving, hold_transfer
from quotas.ledger.posting import Aside, Posting, post_due
from quotas.ledger.transfers import Entry, GrantBalance
from quotas.metering.runs import Run
from quotas.model.program import Policy, Program, Rollover
from tests.builders import Z, a_balance_of, a_program, a_run, a_snapshot, a_startup, metered

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


def test_a_tranche_does_not_end_a_second_early() -> None:
    """I18: at 999 all of it is there; at 1000 usage before has drawn on it first."""
    early = post_due(a_program(), a_pair(HALF), metered([], {Z: 999}))
    assert early.transfers == ()
    run = a_run(start_s=900)
    posting = post_due(a_program(), a_pair(HALF, first=200), metered([run], {Z: 1000}))
    assert amounts(posting)["grant:acme:g/1"] == -200
    assert left(posting) == {"g/1": 0, "g/2": 150}


def test_what_ran_between_tranches_is_repaid_by_the_next() -> None:
    """The sponsor lends it to the second, and the tranche that begins repays it: exactly once."""
    run = a_run(end_s=500)
    pair = a_pair(first=100, second=1000)
    lent = post_due(a_program(), pair, metered([run], {Z: 500}))
    assert amounts(lent)["overdraft:spring:acme"] == -400
    assert lent.owed == {"acme": 400}
    later = metered([], {Z: 1000})
    repaid = post_due(a_program(), lent.grants, later, Aside(1000, (), lent.owed))
    (repayment,) = repaid.transfers
    assert (repayment.kind, repayment.at_s) == ("repayment", 1000)
    assert (left(repaid)["g/2"], repaid.owed) == (600, {})
    again = post_due(a_program(), repaid.grants, later, Aside(1000, (), repaid.owed))
    assert again.transfers == ()


def test_a_tranche_too_small_repays_what_it_can() -> None:
    """The rest is owed still; nothing goes below zero."""
    (first,) = repayments(500, a_pair(second=300)[1:], 1000, "")
    assert [entry.amount_ucr for entry in first.entries] == [-300, 300]


def test_a_surplus_returns_to_the_tranche_in_force() -> None:
    """A refund of what was repaid comes back to the startup, not to the sponsor."""
    (back,) = repayments(-50, a_pair(second=0)[1:], 1000, "")
    assert [entry.amount_ucr for entry in back.entries] == [50, -50]


@pytest.mark.parametrize(
    ("policy", "account"), [("close", "overdraft:spring:acme"), ("stop", "overdraft:spring")]
)
def test_the_policy_says_who_bears_it(policy: str, account: str) -> None:
    """Where servers are stopped between tranches, nothing is lent."""
    program = a_program(policy=Policy(between_tranches=policy))  # type: ignore[arg-type]
    posting = post_due(program, a_pair(), metered([a_run(end_s=500)], {Z: 500}))
    assert amounts(posting)[account] == -400


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
        runs, grants, owed = [a_run(start_s=start_s, rate_ucr_per_h=rate)], a_pair(rollover), {}
        total: Counter[str] = Counter()
        now_s = 0
        for cut in cuts:
            now_s += cut
            if now_s == until_s:
                runs = [Run(**{**_fields(run), "end_s": until_s}) for run in runs]
            known = [run for run in runs if run.start_s <= now_s]
            posting = post_due(
                a_program(), grants, metered(known, {Z: now_s}), Aside(now_s, (), owed)
            )
            runs = list(posting.runs.values()) or runs
            grants, owed = list(posting.grants), dict(posting.owed)
            total.update(amounts(posting))
        assert sum(total.values()) == 0
        return Counter({account: ucr for account, ucr in total.items() if ucr})

    assert dict(play(steps)) == dict(play([until_s]))


def _fields(run: Run) -> dict[str, object]:
    return {name: getattr(run, name) for name in run.__slots__}


# Levels and what is told ahead.


def between(policy: str = "close", **changes: int) -> tuple[Snapshot, Program]:
    """Acme at 500 with its first tranche used up, and a server running."""
    program = a_program(policy=Policy(between_tranches=policy))  # type: ignore[arg-type]
    pair = a_pair(first=0, **{"second": 5000, **changes})
    snapshot = a_snapshot(500, program, [a_run(posted_until_s=500)], pair)
    return snapshot, program


def test_running_out_of_a_tranche_closes_and_never_stops() -> None:
    """No notice is given for credits while a later tranche is dated within the cohort."""
    snapshot, _ = between()
    assert level(snapshot, "acme")[0] == "closed"
    assert "next begins at" in level(snapshot, "acme")[1]
    assert out_of_credits(snapshot) == []


def lending(owed_ucr: int, *runs: Run, to_come: int = 5000, **changes: object) -> Snapshot:
    """Acme at 500 between two tranches of which the second is to come, with so much owed."""
    snapshot = a_snapshot(500, a_program(), runs, a_pair(first=0, second=to_come), **changes)
    own = replace(snapshot.balances["acme"], owed_ucr=owed_ucr)
    return replace(snapshot, balances={"acme": own})


def test_no_more_is_lent_than_is_to_come() -> None:
    """What is owed, with the cost of a stop, may be what later tranches hold, and not more."""
    run = a_run(posted_until_s=500)
    stop_ucr = 1800 + 30 + 300
    within, at = lending(5000 - stop_ucr - 1, run), lending(5000 - stop_ucr, run)
    assert level(within, "acme") == level(between()[0], "acme")
    assert out_of_credits(within) == []
    assert level(at, "acme")[0] == "closed" and "the final notice runs" in level(at, "acme")[1]
    (violation,) = out_of_credits(at)
    assert (violation.rule, violation.deadline_s) == ("credits", 500 + 1800)
    assert "can repay no more than" in violation.reason


def test_a_tranche_after_the_cohort_lends_nothing() -> None:
    """Nobody will run then: what is dated past the end of the cohort is not lent on."""
    program = a_program(ends_s=9_000)
    later = a_balance_of("g/3", 10**9, effective_s=9_000, expires_s=20_000)
    snapshot = a_snapshot(
        500, program, [a_run(posted_until_s=500)], [*a_pair(first=0, second=100), later]
    )
    assert len(out_of_credits(snapshot)) == 1


def test_who_was_stopped_for_the_loan_does_not_flap() -> None:
    """What the stop left of it opens nothing, and lowers no level: it carries no server."""
    announced = frozenset({("acme", exhaustion_episode(0))})
    assert level(lending(4999, announced=announced), "acme")[0] == "stopped"
    assert level(lending(4999), "acme")[0] == "closed"
    # Told for a server that it started after its closing, it has the loan still.
    assert level(lending(10, to_come=10**9, announced=announced), "acme")[0] == "closed"


def test_the_end_of_the_loan_is_told_ahead() -> None:
    """At the runways of the policy, once for each, and to the second an edge of the cycle."""
    run, stop_ucr = a_run(posted_until_s=500), 1800 + 30 + 300
    snapshot = lending(1000, run, to_come=1000 + stop_ucr + 3600)
    ((name, episode, inputs, at_s),) = runway_announcements(snapshot)
    assert (name, episode, at_s) == ("acme", "loan:3600:0", 500 + 3600)
    assert conclude("runway", inputs).startswith("the tranche is used up")
    assert {at_s, at_s - 600} <= set(decide(snapshot).edges)
    assert runway_announcements(replace(snapshot, announced=frozenset({(name, episode)}))) == []


def test_the_file_may_say_stop() -> None:
    """Then it is as if there were no later tranche."""
    snapshot, _ = between("stop")
    assert [violation.rule for violation in out_of_credits(snapshot)] == ["credits"]


def test_an_empty_later_tranche_does_not_keep_servers() -> None:
    """A tranche that was voided is nothing to wait for."""
    snapshot, _ = between(second=0)
    assert [violation.rule for violation in out_of_credits(snapshot)] == ["credits"]


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
        for startup, episode, inputs, at_s in expiry_announcements(snapshot):
            announced.add((startup, episode))
            heard.append(day)
            assert (at_s, inputs["amount_ucr"]) == (end_s, 864_000)
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
    posting = post_due(a_program(), grants, metered([run], {Z: now_s}), Aside(now_s))
    runs = list(posting.runs.values())
    ahead = forecast_expiries(now_s, posting.grants, runs, {Z: now_s}, posting.owed.get("acme", 0))
    last = post_due(
        a_program(), posting.grants, metered(runs, {Z: 2000}), Aside(2000, (), posting.owed)
    )
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
    early = post_due(a_program(), grants, metered([], {Z: 899}), Aside(899, (hold,)))
    assert (early.transfers, early.holds) == ((), (hold,))
    posting = post_due(a_program(), grants, metered([], {Z: 900}), Aside(900, (hold,)))
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
    posting = post_due(program, [a_balance_of("g1", 0)], metered([], {Z: 900}), Aside(900, (hold,)))
    assert left(posting) == {"g1": 40}
