"""Which startups to close and reopen: one intent at a time, and never a storm of calls."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotas.iam.closing import (
    CLOSE,
    LAST_PAUSE_S,
    RECHECK_AFTER_S,
    REOPEN,
    ClosingHistory,
    Closings,
    StillRevoked,
    assign_to_successors,
    closed_by,
    closing_alarms,
    closing_views,
    decide_closings,
    projects_at,
    with_ended_intents,
)
from quotas.model.program import Mode, Tenure
from quotas.rules import credits, limit
from quotas.rules.context import OPEN, Level, Restriction
from quotas.state.facts import TypedMessage
from quotas.state.notices import Intent, IntentCode, IntentResult
from tests.builders import a_program, a_startup

SPENT = credits.Facts(
    startup="acme",
    posted_ucr=1,
    accrued_ucr=1,
    held_ucr=0,
    reserve_ucr=0,
    granted_ucr=9,
    burn_ucr_per_h=1,
    stopped_before=1,
)
SHUT = Restriction("credits", Level.STOPPED, SPENT)
WARNED = Restriction("credits", Level.CLOSED, replace(SPENT, stopped_before=0))
FULL = limit.Full(pool="h100", used_gpus=8, ceiling_gpus=8, limited_by="policy")
PACED = Restriction("limit", Level.PACED, FULL)


def closing(state: str, action: str = CLOSE, at_s: int = 0, **changes: object) -> Intent:
    """An intent about acme that ended, or lives, since an instant."""
    live = state in ("pending", "sent")
    made = Intent(None, "", "", "open", at_s, at_s + 300, state, id=1)
    made = replace(made, action=action, startup="acme", ended_s=None if live else at_s)
    return replace(made, **changes)  # type: ignore[arg-type]  # the fields of an Intent


def decided(level: Restriction, *newest_first: Intent, now_s: int = 1) -> Closings:
    """What is decided of acme at its level, after these intents."""
    past = {"acme": ClosingHistory(newest_first, False)} if newest_first else {}
    return decide_closings({"acme": level}, past, {"acme"}, now_s)


def actions(of: Closings) -> list[tuple[str, str]]:
    """Action and state of every intent that is written."""
    return [(intent.action, intent.state) for intent in of.intents]


@pytest.mark.parametrize("level", [WARNED, SHUT], ids=["closed", "stopped"])
def test_a_closed_level_closes_once_and_says_so(level: Restriction) -> None:
    """One intent, one decision, one notice that says why and what stays allowed."""
    made = decided(level)
    assert actions(made) == [("close", "pending")]
    assert [(d.verb, d.startup) for d in made.decisions] == [("close", "acme")]
    assert made.notices[0].facts["action"] == "close" and made.notices[0].facts["by"] == "credits"
    assert made.notices[0].state == "announced" and made.intents[0].notice_id is None


@pytest.mark.parametrize("level", [OPEN, PACED], ids=["open", "paced"])
def test_who_was_never_closed_is_not_reopened(level: Restriction) -> None:
    """Nothing was taken: nothing is asked of IAM."""
    assert decided(level) == Closings((), (), ())


def test_back_to_open_reopens_once() -> None:
    """From closed: reopen, told; confirmed: nothing more, ever."""
    back = decided(OPEN, closing("confirmed"))
    assert actions(back) == [("reopen", "pending")] and back.decisions[0].verb == "reopen"
    assert not decided(OPEN, closing("confirmed", REOPEN), now_s=10**9).intents


def test_a_live_intent_of_the_other_direction_is_abandoned() -> None:
    """The newer one replaces it in the same write."""
    made = decided(OPEN, closing("pending"))
    assert actions(made) == [("close", "abandoned"), ("reopen", "pending")]
    assert not decided(SHUT, closing("pending")).intents


def test_a_closed_startup_is_looked_at_again_without_a_word() -> None:
    """After an hour, as a new intent, with no decision and no notice."""
    done = closing("confirmed")
    assert not decided(SHUT, done, now_s=RECHECK_AFTER_S - 1).intents
    again = decided(SHUT, done, now_s=RECHECK_AFTER_S)
    assert actions(again) == [("close", "pending")] and not again.decisions and not again.notices


@pytest.mark.parametrize(("count", "pause_s"), [(1, 60), (2, 120), (3, 240), (5, 900), (9, 900)])
def test_failures_pause_longer_and_longer(count: int, pause_s: int) -> None:
    """60 s, doubling, 15 minutes at most."""
    failed = [closing("failed")] * count
    assert not decided(SHUT, *failed, now_s=pause_s - 1).intents
    assert decided(SHUT, *failed, now_s=pause_s).intents
    assert pause_s <= LAST_PAUSE_S


def test_who_left_the_program_is_left_alone() -> None:
    """Its projects are not known any more: release-all gives its rules back."""
    assert not decide_closings({"gone": SHUT}, {}, {"acme"}, 1).intents


def test_an_intent_that_expired_in_this_cycle_is_seen_as_expired() -> None:
    """What the observation ended counts at once: no second live intent beside it."""
    pending = closing("pending")
    past = with_ended_intents(
        {"acme": ClosingHistory((pending,))}, [replace(pending, state="expired", ended_s=50)]
    )
    assert past["acme"].failures == 1
    assert not decide_closings({"acme": SHUT}, past, {"acme"}, 60).intents
    assert decide_closings({"acme": SHUT}, past, {"acme"}, 110).intents


@given(st.lists(st.tuples(st.sampled_from((OPEN, SHUT)), st.sampled_from("cfep")), max_size=40))
def test_there_is_one_live_intent_at_most_and_it_points_where_the_level_does(
    steps: list[tuple[tuple[str, str], str]],
) -> None:
    """Whatever the levels and the outcomes: every intent ends, and none contradicts the level."""
    outcomes = {"c": "confirmed", "f": "failed", "e": "expired", "p": "pending"}
    history: dict[int, Intent] = {}
    for number, (level, outcome) in enumerate(steps):
        now_s = 30 * number
        newest_first = tuple(history[key] for key in sorted(history, reverse=True))
        made = decided(level, *newest_first, now_s=now_s)
        for intent in made.intents:
            key = intent.id if intent.id is not None else len(history) + 1
            history[key] = replace(intent, id=key)
        live = [intent for intent in history.values() if intent.is_live]
        assert len(live) <= 1
        for intent in live:
            assert (intent.action == CLOSE) is (level == SHUT)
            ended_s = None if outcome == "p" else now_s
            state = outcomes[outcome]
            history[intent.id or 0] = replace(intent, state=state, ended_s=ended_s)


def test_views_and_alarms_say_what_lasts() -> None:
    """State, failures and the last words; rules that nobody will give back."""
    failed = closing("failed", result=IntentResult(code=IntentCode.REFUSED, error="HTTP 403"))
    past = {
        "acme": ClosingHistory((closing("pending", id=2), failed), True),
        "birch": ClosingHistory(),
    }
    (view,) = closing_views(past)
    assert (view.state, view.failures, view.has_revoked_rules) == ("closing", 1, True)
    (alarm,) = closing_alarms([view], has_key=True, mode=Mode.ENFORCE)
    assert alarm == TypedMessage("closing.failing", view)
    for has_key, mode in ((False, "enforce"), (True, "shadow")):
        alarm = closing_alarms([view], has_key=has_key, mode=mode)[-1]
        assert alarm == TypedMessage("closing.revoked", StillRevoked("acme", mode))
    (idle,) = closing_views(past, attempting=())
    assert idle == replace(view, failures=0), "what is not tried fails no more"
    quiet = {"acme": ClosingHistory((closing("confirmed"),), True)}
    assert closing_views(quiet)[0].state == "closed"
    assert not closing_alarms(closing_views(quiet), has_key=True, mode=Mode.ENFORCE)


def test_projects_are_those_of_the_instant() -> None:
    """A project that passed to another startup is narrowed for that one only."""
    acme = a_startup("acme", projects=(Tenure("p-1", 0, 50), Tenure("p-2", 0)))
    birch = a_startup("birch", projects=(Tenure("p-1", 50),))
    program = a_program(acme, birch)
    assert projects_at(program, 49) == {"acme": ("p-1", "p-2"), "birch": ()}
    assert projects_at(program, 50) == {"acme": ("p-2",), "birch": ("p-1",)}


def test_a_startup_knows_that_it_is_closed_until_it_is_told_otherwise() -> None:
    """The newest word counts, by IAM or ours; what was told in shadow counts in shadow only."""
    announcements = [
        ("acme", "enforce", "forbid:credits:900"),
        ("birch", "enforce", "close:20"),
        ("cedar", "shadow", "forbid:credits:900"),
    ]
    acme, birch, cedar = ("acme", "enforce"), ("birch", "enforce"), ("cedar", "shadow")
    assert set(closed_by(announcements)) == {acme, birch, cedar}
    announcements += [("acme", "enforce", "forbid:operator:35")]
    assert closed_by(announcements)[acme] == {"credits:900", "operator:35"}
    announcements += [("acme", "enforce", "permit:credits:900"), ("birch", "enforce", "reopen:50")]
    assert set(closed_by(announcements)) == {cedar}
    closed = closed_by([("acme", "enforce", f"close:{by}") for by in ("a:1", "b:9")])
    assert closed[acme] == {"b:9"}, "IAM's word is told of a change only"
    announcements += [("acme", "enforce", "forbid:operator:60"), ("cedar", "enforce", "permit:x:0")]
    assert closed_by(announcements) == {acme: {"operator:60"}, cedar: {"credits:900"}}


def test_what_is_withheld_goes_back_to_who_has_the_project_now() -> None:
    """A project that passed on while its rules were withheld: its new owner is to have them."""
    place, other = frozenset({"p-1"}), frozenset({"p-2"})
    past = {
        "acme": ClosingHistory((closing("confirmed"),), True, (place,)),
        "birch": ClosingHistory(),
    }
    stays = assign_to_successors(past, {"acme": ("p-1",), "birch": ("p-2",)})
    assert stays["acme"].has_revoked_rules and not stays["birch"].has_revoked_rules
    passed = assign_to_successors(past, {"acme": (), "birch": ("p-1", "p-2")})
    assert not passed["acme"].has_revoked_rules and passed["birch"].has_revoked_rules
    made = decide_closings({"birch": OPEN}, passed, {"birch"}, 9)
    assert [(i.startup, i.action) for i in made.intents] == [("birch", REOPEN)]
    assert made.notices[0].facts["action"] == "inherit"
    nobody = assign_to_successors({"acme": ClosingHistory((), True, (place, other))}, {})
    assert nobody["acme"].has_revoked_rules, "who left stays as it is"
