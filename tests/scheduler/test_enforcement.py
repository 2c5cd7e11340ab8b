"""Operators' words, the guard, leaks and restarts, with the real cycle on a real book."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quotas.decisions.overrides import EVERYONE
from quotas.enforcement.stop_lifecycle import FIRST_RETRY_S
from quotas.model.program import Policy, Program
from scheduler.clouds.base import Conflict, Forbidden
from tests.scheduler.harness import NOTICE_S, T0, Harness, override, program, server

HOUR_S = 3600
DAY_S = 86_400


def policy(**changes: int) -> Program:
    """The rig's program with other thresholds."""
    base = program()
    return replace(base, policy=replace(base.policy, **changes))


def verbs(harness: Harness) -> list[str]:
    """What was decided of servers, in order."""
    return [str(row["verb"]) for row in harness.all("decision") if row["server_id"]]


def running(harness: Harness) -> set[str]:
    """Servers that run."""
    return {each.id for each in harness.cloud.servers.values() if each.state == "running"}


def test_an_operator_stops_a_startup_after_a_notice() -> None:
    """`stopped`: notice with the minimum, poweroff after it; the level says who said so."""
    harness = Harness()
    harness.cloud.add(server())
    harness.run()
    override(harness, "level", "acme", "stopped")
    harness.run(30)
    assert harness.views[-1].status.startups[0].level == "stopped"
    assert "ann said so" in harness.views[-1].status.startups[0].level_reason
    harness.run(NOTICE_S - 1)
    assert harness.cloud.stops == []
    harness.run(1)
    assert harness.cloud.stops == ["s1"]


def test_a_closed_startup_keeps_what_runs_and_loses_what_starts() -> None:
    """`closed`: a server from before goes on; one started afterwards has a notice."""
    harness = Harness()
    harness.cloud.add(server("old"))
    harness.run()
    override(harness, "level", "acme", "closed")
    harness.run(30)
    harness.cloud.add(server("new", harness.clock.now_s() + 1))
    harness.run_until(T0 + 300)
    assert harness.cloud.stops == ["new"]
    override(harness, "level", "acme", "open")
    harness.run(30)
    assert harness.views[-1].status.startups[0].level == "open"


def test_a_closing_is_announced_once_and_so_is_its_end() -> None:
    """Without a key for IAM too: told with the cause when it begins, and when it is over."""
    harness = Harness()
    harness.run()
    for value in ("closed", "stopped", "open"):
        override(harness, "level", "acme", value)
        harness.run_until(harness.clock.now_s() + 120)
    told = [str(row["text"]) for row in harness.all("notice") if row["rule"] == "closing"]
    assert [text.split(":")[0] for text in told] == [
        "acme may start no servers from now on",
        "acme may start no servers from now on",
        "acme may start servers again",
    ]
    assert "ann said so" in told[0] and "powered off after its notice" in told[0]
    override(harness, "level", "acme", "closed")
    harness.run_until(harness.clock.now_s() + 120)
    assert len([row for row in harness.all("notice") if row["rule"] == "closing"]) == 4


def test_open_again_cancels_the_notice_and_powers_nothing_on() -> None:
    """Going back restores permission: the promise of a stop is withdrawn."""
    harness = Harness()
    harness.cloud.add(server())
    override(harness, "level", "acme", "stopped")
    harness.run(30)
    override(harness, "level", "acme", "open")
    harness.run_until(T0 + 600)
    assert (verbs(harness), harness.cloud.stops) == (["notify", "cancelled"], [])


def test_a_restart_under_the_same_cause_finds_its_notice_where_it_was() -> None:
    """A stopped startup that starts its server again and again gets one notice, not many."""
    harness = Harness()
    harness.cloud.add(server())
    override(harness, "level", "acme", "stopped")
    harness.run_until(T0 + 120)
    assert harness.cloud.stops == ["s1"]
    for _ in range(3):
        harness.cloud.add(server("s1", harness.clock.now_s() + 1))
        for _ in ("seen on", "stopped", "seen off"):
            harness.run(30)
    assert len(harness.cloud.stops) == 4
    given = {row["opened_s"] for row in harness.all("notice")}
    assert len(given) == 1, "the restarts go on with the first notice"


def test_the_notice_of_a_server_that_was_off_has_what_was_left() -> None:
    """Off after 20 of 60 s and on again later: 40 s are left, not 60 and not none."""
    harness = Harness()
    harness.cloud.add(server())
    override(harness, "level", "acme", "stopped")
    harness.run()
    harness.clock.move_to(T0 + 20)
    harness.cloud.turn_off("s1")
    harness.run()
    harness.clock.move_to(T0 + 500)
    harness.cloud.add(server("s1", T0 + 490))
    harness.run()
    assert harness.all("notice")[-1]["deadline_s"] == T0 + 500 + NOTICE_S - 20


def test_the_guard_lets_one_server_pass_and_holds_the_others() -> None:
    """Three of three servers over the end of credits: one an hour, the others held, visible."""
    harness = Harness(program(credits=1))
    harness.cloud.add(server("a"), server("b"), server("c"))
    harness.run_until(T0 + 300)
    assert len(harness.cloud.stops) == 1
    view = harness.views[-1]
    assert (view.stops_deferred, verbs(harness).count("defer")) == (2, 2)
    assert "2 stops held by the guard" in view.sentence
    harness.run_until(T0 + 300 + HOUR_S)
    assert len(harness.cloud.stops) == 2, "an hour later the next one passes: nothing is lost"


def test_an_approval_lets_what_is_held_pass() -> None:
    """An operator's word on a held notice, and it is stopped in the next cycle."""
    harness = Harness(program(credits=1))
    harness.cloud.add(server("a"), server("b"), server("c"))
    harness.run_until(T0 + 300)
    stops_deferred = [row for row in harness.all("notice") if row["state"] == "deferred"]
    override(harness, "approve", str(stops_deferred[0]["id"]), "approved")
    harness.run(30)
    assert sorted(harness.cloud.stops[1:]) == [stops_deferred[0]["server_id"]]
    assert harness.views[-1].stops_deferred == 1


def test_a_server_that_cannot_be_stopped_takes_no_room_of_the_guard() -> None:
    """Locked for an hour: another one passes at once; set free, it waits for room as any."""
    harness = Harness(program(credits=1))
    harness.cloud.add(server("a"), server("b"), server("c"))

    def refuse(id: str) -> None:
        if id == "a":
            raise Conflict("locked")

    harness.cloud.on_stop = refuse
    harness.run_until(T0 + 600)
    assert set(harness.cloud.stops) == {"a", "b"} and harness.cloud.stops.count("b") == 1
    harness.cloud.on_stop = lambda _: None
    harness.run_until(T0 + HOUR_S)
    assert running(harness) == {"a", "c"} and harness.views[-1].stops_deferred == 2
    harness.run_until(T0 + HOUR_S + 600)
    assert len(running(harness)) == 1


def test_a_state_that_allows_no_poweroff_takes_no_room_of_the_guard() -> None:
    """Nothing can be sent for it: the others are stopped, one an hour."""
    harness = Harness(program(credits=1))
    harness.cloud.add(server("a", state="locked", allowed_actions=("backup",)), server("b"))
    harness.run_until(T0 + 600)
    assert harness.cloud.stops == ["b"]


def test_stops_that_all_failed_pass_the_guard_again() -> None:
    """A key that may not stop: when it may again, one server an hour is stopped, not all."""
    harness = Harness(program(credits=1))
    harness.cloud.add(server("a"), server("b"), server("c"))

    def forbid(_: str) -> None:
        raise Forbidden("403")

    harness.cloud.on_stop = forbid
    harness.run_until(T0 + 900)
    assert set(harness.cloud.stops) == {"a", "b", "c"}
    harness.cloud.on_stop = lambda _: None
    harness.run_until(T0 + HOUR_S)
    assert len(running(harness)) == 2


def test_what_the_guard_held_before_a_freeze_has_its_notice_again() -> None:
    """Two of three held, then a freeze: told again when it ends, and guarded as before."""
    harness = Harness(program(credits=1))
    harness.cloud.add(server("a"), server("b"), server("c"))
    harness.run_until(T0 + 300)
    override(harness, "freeze", EVERYONE, for_s=2 * HOUR_S)
    harness.run_until(T0 + 300 + 2 * HOUR_S, every_s=300)
    assert (len(running(harness)), verbs(harness).count("extend")) == (2, 2)
    harness.run(NOTICE_S - 1)
    assert len(running(harness)) == 2
    harness.run(1)
    assert (len(running(harness)), harness.views[-1].stops_deferred) == (1, 1)


def test_a_wider_guard_lets_all_pass() -> None:
    """`part = "1"`: nothing is held."""
    base = program(credits=1)
    harness = Harness(replace(base, policy=replace(base.policy, disruption_budget_ppm=1_000_000)))
    harness.cloud.add(server("a"), server("b"), server("c"))
    harness.run_until(T0 + 300)
    assert len(harness.cloud.stops) == 3


def test_a_freeze_holds_what_is_due_until_its_end() -> None:
    """Notices are given during a freeze; at its end one has the minimum again, told as such."""
    harness = Harness()
    harness.cloud.add(server())
    override(harness, "freeze", EVERYONE, for_s=600)
    override(harness, "level", "acme", "stopped")
    harness.run_until(T0 + 599)
    assert (verbs(harness), harness.cloud.stops) == (["notify"], [])
    harness.run(1)
    assert verbs(harness) == ["notify", "extend"]
    notice = harness.all("notice")[0]
    assert notice["deadline_s"] == T0 + 600 + NOTICE_S
    assert "stops waited" in str(notice["text"])
    harness.run(NOTICE_S - 1)
    assert harness.cloud.stops == []
    harness.run(1)
    assert harness.cloud.stops == ["s1"]


def test_a_freeze_that_is_ended_early_renews_from_that_instant() -> None:
    """--end counts, not what the freeze was said to last; what is not yet due stays as it was."""
    harness = Harness()
    harness.cloud.add(server())
    override(harness, "freeze", EVERYONE, for_s=DAY_S)
    override(harness, "level", "acme", "stopped")
    harness.run_until(T0 + 300)
    override(harness, "freeze", EVERYONE, "off")
    harness.run_until(T0 + 390, every_s=30)
    assert harness.all("notice")[0]["deadline_s"] == T0 + 330 + NOTICE_S
    assert harness.cloud.stops == ["s1"]
    short = Harness()
    short.cloud.add(server())
    override(short, "freeze", EVERYONE, for_s=20)
    override(short, "level", "acme", "stopped")
    short.run()
    short.run(NOTICE_S)
    assert (verbs(short), short.cloud.stops) == (["notify", "stop"], ["s1"])


@pytest.mark.parametrize("subject", ["acme", "s1"])
def test_an_exemption_ends_by_itself(subject: str) -> None:
    """No rule names an exempt server or startup; afterwards it gets its full notice."""
    harness = Harness()
    harness.cloud.add(server())
    override(harness, "exempt", subject, for_s=600)
    override(harness, "level", "acme", "stopped")
    harness.run_until(T0 + 590)
    assert verbs(harness) == []
    harness.run(10)
    harness.run(NOTICE_S)
    assert harness.cloud.stops == ["s1"]
    (given,) = [row for row in harness.all("notice") if row["server_id"]]
    assert given["opened_s"] == T0 + 600


def test_maintenance_meters_and_acts_on_nothing() -> None:
    """A stop that was due is not sent, a pending intent neither; charges go on."""
    harness = Harness()
    harness.cloud.add(server())
    override(harness, "level", "acme", "stopped")
    harness.run()
    override(harness, "maintenance", EVERYONE, for_s=2 * HOUR_S)
    harness.run_until(T0 + HOUR_S + 30)
    assert harness.cloud.stops == []
    assert harness.charged_ucr() > 0
    assert "in maintenance" in harness.views[-1].sentence
    harness.run_until(T0 + 2 * HOUR_S + NOTICE_S - 1)
    assert harness.cloud.stops == []
    harness.run_until(T0 + 2 * HOUR_S + NOTICE_S + 30)
    assert harness.cloud.stops == ["s1"]


def test_a_leak_is_announced_and_ended_and_a_running_server_is_none() -> None:
    """Stopped in place for the policy's 30 minutes: notice, then poweroff; running: never."""
    harness = Harness(policy(standby_stop_after_s=1800))
    harness.cloud.add(server("busy"), server("s1", state="stopped in place"))
    harness.run()
    harness.run_until(T0 + 1799)
    assert verbs(harness) == []
    harness.run(1)
    harness.run(NOTICE_S)
    assert harness.cloud.stops == ["s1"]
    harness.run_until(T0 + 5 * HOUR_S, every_s=1800)
    assert harness.cloud.stops == ["s1"]


def test_a_leak_that_is_used_again_is_left_alone() -> None:
    """Powered on within the notice: it is cancelled."""
    harness = Harness(policy(standby_stop_after_s=1800))
    harness.cloud.add(server("s1", state="stopped in place"))
    harness.run_until(T0 + 1830)
    harness.cloud.add(server("s1", since_s=T0 + 1831))
    harness.run_until(T0 + 3000)
    assert (verbs(harness), harness.cloud.stops) == (["notify", "cancelled"], [])


def test_what_ran_between_two_sweeps_and_leaks_again_has_a_notice_of_its_own() -> None:
    """The deadline of the first leak passed unseen: nothing is stopped on it, and all is told."""
    harness = Harness(policy(standby_stop_after_s=1800))
    harness.cloud.add(server("s1", state="stopped in place"))
    harness.run_until(T0 + 1830)
    (first,) = harness.all("notice")
    harness.cloud.add(server("s1", state="stopped in place", since_s=first["deadline_s"] - 60))
    harness.clock.move_to(first["deadline_s"] + 1800)
    harness.run(0)
    assert (verbs(harness), harness.cloud.stops) == (["notify", "cancelled", "notify"], [])
    assert [row["state"] for row in harness.all("notice")] == ["cancelled", "open"]
    harness.run(NOTICE_S)
    assert harness.cloud.stops == ["s1"]


def test_a_server_that_cannot_be_stopped_is_visible_and_not_hammered() -> None:
    """Locked: each refusal is a failed intent, tried again ever later; an alarm names it."""
    harness = Harness()
    harness.cloud.add(server())
    override(harness, "level", "acme", "stopped")

    def refuse(_: str) -> None:
        raise Conflict("locked")

    harness.cloud.on_stop = refuse
    harness.run_until(T0 + 2 * HOUR_S, every_s=60)
    assert 5 <= len(harness.cloud.stops) <= 14
    assert harness.views[-1].stops_failing == 1
    assert any("s1 of acme cannot be stopped: tried" in each for each in harness.views[-1].alarms)
    assert {row["state"] for row in harness.all("intent")} <= {"failed", "pending", "sent"}
    assert FIRST_RETRY_S > 30


def test_a_state_that_allows_no_poweroff_is_not_asked_for_one() -> None:
    """`allowed_actions` without poweroff: no call, an alarm."""
    harness = Harness()
    harness.cloud.add(server(state="locked", allowed_actions=("backup",)))
    override(harness, "level", "acme", "stopped")
    harness.run_until(T0 + 600)
    assert harness.cloud.stops == []
    assert any("allows no poweroff" in each for each in harness.views[-1].alarms)


def test_a_word_is_kept_once_and_never_changed() -> None:
    """The same word again is the same row; another one names what it replaces."""
    harness = Harness()
    first, again = (
        override(harness, "level", "acme", "closed"),
        override(harness, "level", "acme", "closed"),
    )
    assert first == again
    other = override(harness, "level", "acme", "stopped")
    assert other.before == "closed by ann: a test"
    assert len(harness.all("override")) == 2


def test_armed_over_a_file_that_says_shadow() -> None:
    """The word on the mode counts, and the promise of shadow starts anew in full."""
    harness = Harness(program(credits=1, mode="shadow"))
    harness.cloud.add(server())
    harness.run_until(T0 + 300)
    assert (harness.cloud.stops, verbs(harness)[-1]) == ([], "would-stop")
    override(harness, "mode", EVERYONE, "enforce")
    harness.run(30)
    notices = [row for row in harness.all("notice") if row["server_id"]]
    assert notices[-1]["deadline_s"] == T0 + 330 + NOTICE_S
    harness.run_until(T0 + 330 + NOTICE_S)
    assert harness.cloud.stops == ["s1"]
    override(harness, "mode", EVERYONE, "shadow")
    harness.run(30)
    assert harness.views[-1].status.program.mode == "shadow"


def test_what_only_operators_heard_in_shadow_is_told_when_it_is_armed() -> None:
    """A runway foretold a day ahead, in shadow alone: startups hear it, and stops are guarded."""
    harness = Harness(program(credits=2000, mode="shadow"))
    harness.cloud.add(server("a"), server("b"), server("c"))
    harness.run_until(T0 + 25 * HOUR_S, every_s=HOUR_S)
    override(harness, "mode", EVERYONE, "enforce")
    harness.run_until(T0 + 28 * HOUR_S, every_s=120)
    told = [(n["mode"], str(n["episode"])) for n in harness.all("notice") if n["rule"] == "runway"]
    assert [mode for mode, _ in told].count("shadow") == 2
    heard = [episode.split(":")[1] for mode, episode in told if mode == "enforce"]
    assert heard == ["86400", "3600", "600"], "the day's threshold was told in shadow too"
    assert (len(harness.cloud.stops), harness.views[-1].stops_deferred) == (1, 2)


def test_the_policy_has_safe_defaults() -> None:
    """A quarter of the GPUs an hour, half an hour in place, an hour for what is borrowed."""
    made = Policy()
    assert (made.disruption_budget_ppm, made.standby_stop_after_s, made.minimum_runtime_s) == (
        250_000,
        1800,
        3600,
    )
