"""A used-up tranche is an exhaustion like any other, until the next tranche begins."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quotas.book.actions.action import OperatorAction
from quotas.book.actions.advances import SelfAdvanceCommand, take_ahead
from quotas.book.actions.execute import perform_action
from quotas.book.actions.grants import GrantCommand
from quotas.book.cycle.state import load_state
from quotas.model.program import Program, Tranche
from quotas.state.overrides import EVERYONE
from tests.scheduler.act.test_release_all import SlowIam
from tests.scheduler.harness import (
    DAY_S,
    NOTICE_S,
    T0,
    Harness,
    override,
    program,
    row_text,
    server,
)

HOUR_S = 3600
NEXT_S = T0 + 5 * DAY_S
SHUT, FREE = "acme may start no servers", "acme may start servers"


def in_two_tranches(first: int = 1, *, auto_resume: bool = False) -> Program:
    """Some credits now, and 9,000 in five days."""
    made = program(credits=first + 9_000)
    (cohort,) = made.cohorts
    (acme,) = cohort.startups
    (grant,) = acme.grants
    tranches = (Tranche(first * 10**6, T0), Tranche(9_000 * 10**6, NEXT_S))
    acme = replace(acme, grants=(replace(grant, tranches=tranches),), auto_resume=auto_resume)
    return replace(made, cohorts=(replace(cohort, startups=(acme,)),))


def told(harness: Harness) -> list[str]:
    """The first words of each message to the startup about its level."""
    rows = [row_text(row) for row in harness.all("notice") if row["rule"] == "closing"]
    return [text.partition(" from now on")[0].partition(" again")[0] for text in rows]


def notices(harness: Harness) -> list[str]:
    """The states of the notices for credits, oldest first."""
    return [str(row["state"]) for row in harness.all("notice") if row["rule"] == "credits"]


def level(harness: Harness) -> str:
    """The level of acme in the last view."""
    (own,) = harness.views[-1].status.startups
    return own.level


def left_ucr(harness: Harness, tranche: int) -> int:
    """The credits left in a tranche."""
    return next(g.left_ucr for g in load_state(harness.book).grants if g.id.endswith(f"/{tranche}"))


@pytest.mark.parametrize(
    "resumed", [[], ["old"]], ids=["its owner starts servers", "auto_resume starts it"]
)
def test_from_the_announcement_over_the_stop_to_the_next_tranche(resumed: list[str]) -> None:
    """200 credits last eight hours: a runway, a final notice, a stop at zero; open in five days.

    Nothing is overdrawn. Only a startup that asked for it has its server powered on again.
    """
    harness = Harness(in_two_tranches(200, auto_resume=bool(resumed)))
    harness.cloud.add(server("old"))
    harness.run_until(T0 + 9 * HOUR_S, every_s=150)
    episodes = [str(row["episode"]) for row in harness.all("notice") if row["rule"] == "runway"]
    assert [episode.split(":")[1] for episode in episodes] == ["86400", "3600", "600"]
    assert (harness.cloud.stops, notices(harness), told(harness)) == (["old"], ["executed"], [SHUT])
    assert level(harness) == "stopped"
    assert 0 <= left_ucr(harness, 1) < 5 * 10**6 and "overdraft:c" not in harness.rows("balance")
    harness.cloud.add(replace(harness.cloud.servers["old"], state="stopped"))
    harness.run_until(NEXT_S - 1, every_s=6 * HOUR_S)
    assert (level(harness), harness.cloud.starts) == ("stopped", [])
    harness.run_until(NEXT_S + 600, every_s=60)
    assert (level(harness), told(harness)) == ("open", [SHUT, FREE])
    assert harness.cloud.starts == resumed
    assert harness.cloud.stops == ["old"]


def test_what_starts_before_the_next_tranche_is_stopped_after_its_notice() -> None:
    """A new server gets its full notice, and is then stopped."""
    harness = Harness(in_two_tranches())
    harness.cloud.add(server("old"))
    harness.run_until(T0 + HOUR_S, every_s=60)
    assert harness.cloud.stops == ["old"]
    harness.cloud.add(server("new", harness.clock.now_s() + 1))
    harness.run(30)
    harness.run(NOTICE_S - 1)
    assert harness.cloud.stops == ["old"]
    harness.run_until(T0 + DAY_S, every_s=600)
    assert harness.cloud.stops == ["old", "new"]


def test_who_turns_its_own_server_off_is_not_stopped_and_may_try_again() -> None:
    """Its notice is cancelled, and its next server gets a notice at once."""
    harness = Harness(in_two_tranches())
    harness.cloud.add(server("old"))
    harness.run(30)
    assert notices(harness) == ["open"]
    now_s = harness.clock.now_s()
    harness.cloud.add(replace(harness.cloud.servers["old"], state="stopped", modified_s=now_s))
    harness.run_until(now_s + HOUR_S, every_s=600)
    assert (notices(harness), left_ucr(harness, 1) > 0) == (["cancelled"], True)
    harness.cloud.add(server("new", harness.clock.now_s() + 1))
    harness.run(30)
    harness.run(NOTICE_S - 1)
    assert harness.cloud.stops == []
    harness.run_until(T0 + DAY_S, every_s=3600)
    assert harness.cloud.stops == ["new"]


def test_each_closing_and_each_opening_is_announced() -> None:
    """Closed, opened by a grant, and closed again: each change is announced."""
    harness = Harness(in_two_tranches())
    harness.cloud.add(server("old"))
    harness.run_until(T0 + 60, every_s=30)
    again = GrantCommand("acme", "again", 30 * 10**6)
    perform_action(harness.book, OperatorAction(again, "a test", "ann", harness.clock.now_s()))
    harness.run_until(T0 + DAY_S, every_s=600)
    assert told(harness) == [SHUT, FREE, SHUT]


def test_the_opening_is_announced_also_with_a_key_that_came_later() -> None:
    """The closing was announced without IAM, so its end is announced too."""
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
    assert told(harness) == [SHUT, FREE]


def test_shadow_closings_are_repeated_after_arming() -> None:
    """Only operators read shadow announcements; the startup gets them when they count."""
    harness = Harness(in_two_tranches())
    override(harness, "mode", EVERYONE, "shadow")
    harness.cloud.add(server("old"))
    harness.run_until(T0 + DAY_S, every_s=3600)
    override(harness, "mode", EVERYONE, "enforce")
    harness.run(30)
    harness.run(30)
    rows = [row["mode"] for row in harness.all("notice") if row["rule"] == "closing"]
    assert rows == ["shadow", "enforce"]


def test_the_next_tranche_lifts_the_notice() -> None:
    """The next tranche cancels the notice, and the startup may start servers again."""
    harness = Harness(in_two_tranches())
    harness.run_until(NEXT_S - NOTICE_S // 2, every_s=DAY_S)
    harness.cloud.add(server("old", harness.clock.now_s() + 1))
    harness.run(10)
    assert notices(harness) == ["open"]
    harness.run_until(NEXT_S + 600)
    assert (notices(harness), told(harness)) == (["cancelled"], [SHUT, FREE])
    harness.cloud.add(server("newer", harness.clock.now_s() + 1))
    harness.run_until(NEXT_S + DAY_S, every_s=3600)
    assert (harness.cloud.stops, notices(harness)) == ([], ["cancelled"])


@pytest.mark.parametrize(
    "resumed", [[], ["old"]], ids=["its owner starts servers", "auto_resume starts it"]
)
def test_the_startup_takes_a_part_of_the_next_ahead_while_everybody_sleeps(
    resumed: list[str],
) -> None:
    """After an advance a stopped startup opens in the next cycle, until that is used up as well.

    As after any grant, a server is powered on only if its startup asked for that.
    """
    harness = Harness(in_two_tranches(20, auto_resume=bool(resumed)))
    harness.cloud.add(server("old"))
    harness.run_until(T0 + HOUR_S, every_s=60)
    harness.cloud.add(replace(harness.cloud.servers["old"], state="stopped"))
    harness.run(60)
    assert (harness.cloud.stops, level(harness)) == (["old"], "stopped")
    order = SelfAdvanceCommand("acme", amount_ucr=100 * 10**6)
    take_ahead(harness.book, order, "token:t", harness.clock.now_s())
    harness.run(30)
    harness.run(30)
    assert (level(harness), told(harness), harness.cloud.starts) == ("open", [SHUT, FREE], resumed)
    harness.cloud.add(server("old", harness.clock.now_s() + 1))
    harness.run_until(T0 + 8 * HOUR_S, every_s=60)
    assert (harness.cloud.stops, level(harness)) == (["old", "old"], "stopped")
    assert "overdraft:c" not in harness.rows("balance")
    harness.run_until(NEXT_S - 1, every_s=6 * HOUR_S)
    assert level(harness) == "stopped"
    harness.run(1)
    assert (level(harness), left_ucr(harness, 2)) == ("open", 8_900 * 10**6)
