"""A tranche is used up and the next is to come: what runs goes on, and nothing new may start."""

from __future__ import annotations

from dataclasses import replace

from quotas.book.actions.commands import Deed, GrantOrder
from quotas.book.actions.execute import perform
from quotas.book.cycle.state import load
from quotas.decisions.overrides import EVERYONE
from quotas.model.program import Program, Tranche
from tests.scheduler.act.test_release_all import SlowIam
from tests.scheduler.harness import DAY_S, NOTICE_S, T0, Rig, program, server, word

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


def told(rig: Rig) -> list[str]:
    """What the startup was told of its credits and its level."""
    rows = [row for row in rig.all("notice") if row["rule"] in ("credits", "closing")]
    return [str(row["text"]) for row in rows]


def test_what_starts_after_the_closing_was_told_is_stopped_after_its_notice() -> None:
    """The old server runs on; the new one has its full notice, which says why."""
    rig = Rig(in_two_tranches())
    rig.cloud.add(server("old"))
    rig.run_until(T0 + DAY_S, every_s=3600)
    (closing,) = told(rig)
    assert closing.startswith("acme may start no servers from now on: its tranche is used up")
    started_s = rig.clock.now_s() + 1
    rig.cloud.add(server("new", started_s))
    rig.run(30)
    assert "was told at" in told(rig)[1] and "this was started afterwards" in told(rig)[1]
    rig.run(NOTICE_S - 1)
    assert rig.cloud.stops == []
    rig.run_until(T0 + 2 * DAY_S, every_s=3600)
    assert rig.cloud.stops == ["new"]


def has_credits(rig: Rig) -> bool:
    """Whether anything is left of the first tranche."""
    return sum(grant.left_ucr for grant in load(rig.book).grants if grant.id.endswith("/1")) > 0


def test_what_a_stop_leaves_over_opens_nothing_between_tranches() -> None:
    """Who was told, and stops its server, is closed all the same: the next one has a notice."""
    rig = Rig(in_two_tranches())
    rig.cloud.add(server("old"))
    while not told(rig):
        rig.run(30)
    (closing,) = told(rig)
    assert closing.startswith("acme may start no servers") and has_credits(rig)
    now_s = rig.clock.now_s()
    rig.cloud.add(replace(rig.cloud.servers["old"], state="stopped", modified_s=now_s))
    rig.run_until(now_s + HOUR_S, every_s=600)
    assert told(rig) == [closing] and has_credits(rig)
    rig.cloud.add(server("new", rig.clock.now_s() + 1))
    rig.run(30)
    rig.run(NOTICE_S - 1)
    assert rig.cloud.stops == []
    rig.run_until(T0 + DAY_S, every_s=3600)
    assert rig.cloud.stops == ["new"]


def test_closed_for_something_else_its_tranche_is_not_used_up() -> None:
    """An operator closed it, and opens it: the little that it has was never used up."""
    rig = Rig(in_two_tranches())
    word(rig, "level", "acme", "closed")
    rig.run(30)
    word(rig, "level", "acme", "open")
    rig.run(30)
    rig.run(30)
    assert [text.split(" servers")[0] for text in told(rig)] == [
        "acme may start no",
        "acme may start",
    ]


def test_each_closing_is_told_and_each_opening() -> None:
    """Closed, open and closed for the same tranche: the second closing is told as the first."""
    rig = Rig(in_two_tranches())
    rig.cloud.add(server("old"))
    rig.run_until(T0 + 1800, every_s=150)
    again = GrantOrder("acme", "again", 30 * 10**6)
    perform(rig.book, Deed(again, "a test", "ann", rig.clock.now_s()))
    rig.run_until(T0 + DAY_S, every_s=600)
    words = [text.partition(" from now on")[0].partition(" again")[0] for text in told(rig)]
    shut, free = "acme may start no servers", "acme may start servers"
    assert words == [shut, free, shut]


def test_with_a_key_that_came_later_the_opening_is_told_all_the_same() -> None:
    """Closed by our words, opened when IAM could say it: IAM took nothing, and says nothing."""
    rig = Rig(in_two_tranches())
    rig.cloud.add(server("old"))
    rig.run_until(T0 + 1800, every_s=150)
    rig.cycle.use(rig.cloud, SlowIam(rig))
    perform(rig.book, Deed(GrantOrder("acme", "g", 10**9), "a test", "ann", rig.clock.now_s()))
    rig.run(30)
    rig.run(30)
    assert told(rig)[-1].startswith("acme may start servers again") and len(told(rig)) == 2


def test_what_was_told_in_shadow_is_told_once_armed() -> None:
    """In shadow the operators heard it: the startup hears it when it counts."""
    rig = Rig(in_two_tranches())
    word(rig, "mode", EVERYONE, "shadow")
    rig.cloud.add(server("old"))
    rig.run_until(T0 + DAY_S, every_s=3600)
    word(rig, "mode", EVERYONE, "enforce")
    rig.run(30)
    rig.run(30)
    rows = [row["mode"] for row in rig.all("notice") if row["rule"] == "closing"]
    assert rows == ["shadow", "enforce"]


def owed_ucr(rig: Rig) -> int:
    """What the sponsor has lent to acme."""
    return -rig.rows("balance").get("overdraft:c:acme", 0)


def test_no_more_is_lent_than_the_next_tranche_repays() -> None:
    """A server runs on for 300 credits to come, is stopped before more, and is not called back."""
    rig = Rig(in_two_tranches(300))
    rig.cloud.add(server("old"))
    rig.run_until(T0 + 11 * HOUR_S, every_s=600)
    assert rig.cloud.stops == []
    rig.run_until(T0 + 13 * HOUR_S, every_s=30)
    heard = told(rig)
    assert rig.cloud.stops == ["old"]
    assert "can repay no more than 300" in heard[-1] or "can repay no more than 300" in heard[-2]
    rig.run_until(NEXT_S - 60, every_s=6 * HOUR_S)
    assert told(rig) == heard
    assert 295 * 10**6 < owed_ucr(rig) <= 300 * 10**6
    rig.run_until(NEXT_S + HOUR_S, every_s=600)
    assert owed_ucr(rig) == 0 and rig.rows("balance").get("overdraft:c", 0) == 0


def test_the_next_tranche_lifts_the_notice() -> None:
    """With credits again the promise of a stop is withdrawn, and whoever starts may."""
    rig = Rig(in_two_tranches())
    rig.cloud.add(server("old"))
    rig.run_until(NEXT_S - NOTICE_S // 2, every_s=3600)
    rig.cloud.add(server("new", rig.clock.now_s() + 1))
    rig.run(10)
    assert [row["state"] for row in rig.all("notice") if row["rule"] == "credits"] == ["open"]
    rig.run_until(NEXT_S + 600)
    states = [row["state"] for row in rig.all("notice") if row["rule"] == "credits"]
    assert states == ["cancelled"]
    assert told(rig)[-1].startswith("acme may start servers again")
    assert rig.cloud.stops == []
    rig.cloud.add(server("newer", rig.clock.now_s() + 1))
    rig.run_until(NEXT_S + DAY_S, every_s=3600)
    assert rig.cloud.stops == []
