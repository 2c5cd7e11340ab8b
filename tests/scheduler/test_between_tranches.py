"""A tranche is used up and the next is to come: what runs goes on, and nothing new may start."""

from __future__ import annotations

from dataclasses import replace

from quotas.book.actions.commands import GrantCommand, OperatorAction
from quotas.book.actions.execute import perform_action
from quotas.book.cycle.state import load_state
from quotas.decisions.overrides import EVERYONE
from quotas.model.program import Program, Tranche
from tests.scheduler.act.test_release_all import SlowIam
from tests.scheduler.harness import DAY_S, NOTICE_S, T0, Harness, override, program, server

HOUR_S = 3600
NEXT_S = T0 + 5 * DAY_S


def in_two_tranches(later: int = 9_000) -> Program:
    """A credit now, and the rest in five days."""
    made = program(credits=1 + later)
    (cohort,) = made.cohorts
    (acme,) = cohort.startups
    (grant,) = acme.grants
    tranches = (Tranche(10**6, T0), Tranche(later * 10**6, NEXT_S))
    acme = replace(acme, grants=(replace(grant, tranches=tranches),))
    return replace(made, cohorts=(replace(cohort, startups=(acme,)),))


def told(harness: Harness) -> list[str]:
    """What the startup was told of its credits and its level."""
    rows = [row for row in harness.all("notice") if row["rule"] in ("credits", "closing")]
    return [str(row["text"]) for row in rows]


def test_what_starts_after_the_closing_was_told_is_stopped_after_its_notice() -> None:
    """The old server runs on; the new one has its full notice, which says why."""
    harness = Harness(in_two_tranches())
    harness.cloud.add(server("old"))
    harness.run_until(T0 + DAY_S, every_s=3600)
    (closing,) = told(harness)
    assert closing.startswith("acme may start no servers from now on: its tranche is used up")
    started_s = harness.clock.now_s() + 1
    harness.cloud.add(server("new", started_s))
    harness.run(30)
    assert "was told at" in told(harness)[1] and "this was started afterwards" in told(harness)[1]
    harness.run(NOTICE_S - 1)
    assert harness.cloud.stops == []
    harness.run_until(T0 + 2 * DAY_S, every_s=3600)
    assert harness.cloud.stops == ["new"]


def has_credits(harness: Harness) -> bool:
    """Whether anything is left of the first tranche."""
    return (
        sum(grant.left_ucr for grant in load_state(harness.book).grants if grant.id.endswith("/1"))
        > 0
    )


def test_what_a_stop_leaves_over_opens_nothing_between_tranches() -> None:
    """Who was told, and stops its server, is closed all the same: the next one has a notice."""
    harness = Harness(in_two_tranches())
    harness.cloud.add(server("old"))
    while not told(harness):
        harness.run(30)
    (closing,) = told(harness)
    assert closing.startswith("acme may start no servers") and has_credits(harness)
    now_s = harness.clock.now_s()
    harness.cloud.add(replace(harness.cloud.servers["old"], state="stopped", modified_s=now_s))
    harness.run_until(now_s + HOUR_S, every_s=600)
    assert told(harness) == [closing] and has_credits(harness)
    harness.cloud.add(server("new", harness.clock.now_s() + 1))
    harness.run(30)
    harness.run(NOTICE_S - 1)
    assert harness.cloud.stops == []
    harness.run_until(T0 + DAY_S, every_s=3600)
    assert harness.cloud.stops == ["new"]


def test_closed_for_something_else_its_tranche_is_not_used_up() -> None:
    """An operator closed it, and opens it: the little that it has was never used up."""
    harness = Harness(in_two_tranches())
    override(harness, "level", "acme", "closed")
    harness.run(30)
    override(harness, "level", "acme", "open")
    harness.run(30)
    harness.run(30)
    assert [text.split(" servers")[0] for text in told(harness)] == [
        "acme may start no",
        "acme may start",
    ]


def test_each_closing_is_told_and_each_opening() -> None:
    """Closed, open and closed for the same tranche: the second closing is told as the first."""
    harness = Harness(in_two_tranches())
    harness.cloud.add(server("old"))
    harness.run_until(T0 + 1800, every_s=150)
    again = GrantCommand("acme", "again", 30 * 10**6)
    perform_action(harness.book, OperatorAction(again, "a test", "ann", harness.clock.now_s()))
    harness.run_until(T0 + DAY_S, every_s=600)
    words = [text.partition(" from now on")[0].partition(" again")[0] for text in told(harness)]
    shut, free = "acme may start no servers", "acme may start servers"
    assert words == [shut, free, shut]


def test_with_a_key_that_came_later_the_opening_is_told_all_the_same() -> None:
    """Closed by our words, opened when IAM could say it: IAM took nothing, and says nothing."""
    harness = Harness(in_two_tranches())
    harness.cloud.add(server("old"))
    harness.run_until(T0 + 1800, every_s=150)
    harness.cycle.reconnect(harness.cloud, SlowIam(harness))
    perform_action(
        harness.book,
        OperatorAction(GrantCommand("acme", "g", 10**9), "a test", "ann", harness.clock.now_s()),
    )
    harness.run(30)
    harness.run(30)
    assert told(harness)[-1].startswith("acme may start servers again") and len(told(harness)) == 2


def test_what_was_told_in_shadow_is_told_once_armed() -> None:
    """In shadow the operators heard it: the startup hears it when it counts."""
    harness = Harness(in_two_tranches())
    override(harness, "mode", EVERYONE, "shadow")
    harness.cloud.add(server("old"))
    harness.run_until(T0 + DAY_S, every_s=3600)
    override(harness, "mode", EVERYONE, "enforce")
    harness.run(30)
    harness.run(30)
    rows = [row["mode"] for row in harness.all("notice") if row["rule"] == "closing"]
    assert rows == ["shadow", "enforce"]


def owed_ucr(harness: Harness) -> int:
    """What the sponsor has lent to acme."""
    return -harness.rows("balance").get("overdraft:c:acme", 0)


def test_no_more_is_lent_than_the_next_tranche_repays() -> None:
    """A server runs on for 300 credits to come, is stopped before more, and is not called back."""
    harness = Harness(in_two_tranches(300))
    harness.cloud.add(server("old"))
    harness.run_until(T0 + 11 * HOUR_S, every_s=600)
    assert harness.cloud.stops == []
    harness.run_until(T0 + 13 * HOUR_S, every_s=30)
    heard = told(harness)
    assert harness.cloud.stops == ["old"]
    assert "can repay no more than 300" in heard[-1] or "can repay no more than 300" in heard[-2]
    harness.run_until(NEXT_S - 60, every_s=6 * HOUR_S)
    assert told(harness) == heard
    assert 295 * 10**6 < owed_ucr(harness) <= 300 * 10**6
    harness.run_until(NEXT_S + HOUR_S, every_s=600)
    assert owed_ucr(harness) == 0 and harness.rows("balance").get("overdraft:c", 0) == 0


def test_the_next_tranche_lifts_the_notice() -> None:
    """With credits again the promise of a stop is withdrawn, and whoever starts may."""
    harness = Harness(in_two_tranches())
    harness.cloud.add(server("old"))
    harness.run_until(NEXT_S - NOTICE_S // 2, every_s=3600)
    harness.cloud.add(server("new", harness.clock.now_s() + 1))
    harness.run(10)
    assert [row["state"] for row in harness.all("notice") if row["rule"] == "credits"] == ["open"]
    harness.run_until(NEXT_S + 600)
    states = [row["state"] for row in harness.all("notice") if row["rule"] == "credits"]
    assert states == ["cancelled"]
    assert told(harness)[-1].startswith("acme may start servers again")
    assert harness.cloud.stops == []
    harness.cloud.add(server("newer", harness.clock.now_s() + 1))
    harness.run_until(NEXT_S + DAY_S, every_s=3600)
    assert harness.cloud.stops == []
