"""Operators' words, the guard, leaks and restarts, with the real cycle on a real book."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quotas.decisions.overrides import EVERYONE
from quotas.enforcement.stop_lifecycle import FIRST_RETRY_S
from quotas.model.program import Policy, Program
from scheduler.clouds.base import Conflict, Forbidden
from tests.scheduler.harness import NOTICE_S, T0, Rig, program, server, word

HOUR_S = 3600
DAY_S = 86_400


def policy(**changes: int) -> Program:
    """The rig's program with other thresholds."""
    base = program()
    return replace(base, policy=replace(base.policy, **changes))


def verbs(rig: Rig) -> list[str]:
    """What was decided of servers, in order."""
    return [str(row["verb"]) for row in rig.all("decision") if row["server_id"]]


def running(rig: Rig) -> set[str]:
    """Servers that run."""
    return {each.id for each in rig.cloud.servers.values() if each.state == "running"}


def test_an_operator_stops_a_startup_after_a_notice() -> None:
    """`stopped`: notice with the minimum, poweroff after it; the level says who said so."""
    rig = Rig()
    rig.cloud.add(server())
    rig.run()
    word(rig, "level", "acme", "stopped")
    rig.run(30)
    assert rig.views[-1].startups[0].level == "stopped"
    assert "ann said so" in rig.views[-1].startups[0].level_reason
    rig.run(NOTICE_S - 1)
    assert rig.cloud.stops == []
    rig.run(1)
    assert rig.cloud.stops == ["s1"]


def test_a_closed_startup_keeps_what_runs_and_loses_what_starts() -> None:
    """`closed`: a server from before goes on; one started afterwards has a notice."""
    rig = Rig()
    rig.cloud.add(server("old"))
    rig.run()
    word(rig, "level", "acme", "closed")
    rig.run(30)
    rig.cloud.add(server("new", rig.clock.now_s() + 1))
    rig.run_until(T0 + 300)
    assert rig.cloud.stops == ["new"]
    word(rig, "level", "acme", "open")
    rig.run(30)
    assert rig.views[-1].startups[0].level == "open"


def test_a_closing_is_announced_once_and_so_is_its_end() -> None:
    """Without a key for IAM too: told with the cause when it begins, and when it is over."""
    rig = Rig()
    rig.run()
    for value in ("closed", "stopped", "open"):
        word(rig, "level", "acme", value)
        rig.run_until(rig.clock.now_s() + 120)
    told = [str(row["text"]) for row in rig.all("notice") if row["rule"] == "closing"]
    assert [text.split(":")[0] for text in told] == [
        "acme may start no servers from now on",
        "acme may start no servers from now on",
        "acme may start servers again",
    ]
    assert "ann said so" in told[0] and "powered off after its notice" in told[0]
    word(rig, "level", "acme", "closed")
    rig.run_until(rig.clock.now_s() + 120)
    assert len([row for row in rig.all("notice") if row["rule"] == "closing"]) == 4


def test_open_again_cancels_the_notice_and_powers_nothing_on() -> None:
    """Going back restores permission: the promise of a stop is withdrawn."""
    rig = Rig()
    rig.cloud.add(server())
    word(rig, "level", "acme", "stopped")
    rig.run(30)
    word(rig, "level", "acme", "open")
    rig.run_until(T0 + 600)
    assert (verbs(rig), rig.cloud.stops) == (["notify", "cancelled"], [])


def test_a_restart_under_the_same_cause_finds_its_notice_where_it_was() -> None:
    """A stopped startup that starts its server again and again gets one notice, not many."""
    rig = Rig()
    rig.cloud.add(server())
    word(rig, "level", "acme", "stopped")
    rig.run_until(T0 + 120)
    assert rig.cloud.stops == ["s1"]
    for _ in range(3):
        rig.cloud.add(server("s1", rig.clock.now_s() + 1))
        for _ in ("seen on", "stopped", "seen off"):
            rig.run(30)
    assert len(rig.cloud.stops) == 4
    given = {row["given_s"] for row in rig.all("notice")}
    assert len(given) == 1, "the restarts go on with the first notice"


def test_the_notice_of_a_server_that_was_off_has_what_was_left() -> None:
    """Off after 20 of 60 s and on again later: 40 s are left, not 60 and not none."""
    rig = Rig()
    rig.cloud.add(server())
    word(rig, "level", "acme", "stopped")
    rig.run()
    rig.clock.move_to(T0 + 20)
    rig.cloud.turn_off("s1")
    rig.run()
    rig.clock.move_to(T0 + 500)
    rig.cloud.add(server("s1", T0 + 490))
    rig.run()
    assert rig.all("notice")[-1]["deadline_s"] == T0 + 500 + NOTICE_S - 20


def test_the_guard_lets_one_server_pass_and_holds_the_others() -> None:
    """Three of three servers over the end of credits: one an hour, the others held, visible."""
    rig = Rig(program(credits=1))
    rig.cloud.add(server("a"), server("b"), server("c"))
    rig.run_until(T0 + 300)
    assert len(rig.cloud.stops) == 1
    view = rig.views[-1]
    assert (view.held, verbs(rig).count("hold")) == (2, 2)
    assert "2 stops held by the guard" in view.sentence
    rig.run_until(T0 + 300 + HOUR_S)
    assert len(rig.cloud.stops) == 2, "an hour later the next one passes: nothing is lost"


def test_an_approval_lets_what_is_held_pass() -> None:
    """An operator's word on a held notice, and it is stopped in the next cycle."""
    rig = Rig(program(credits=1))
    rig.cloud.add(server("a"), server("b"), server("c"))
    rig.run_until(T0 + 300)
    held = [row for row in rig.all("notice") if row["state"] == "held"]
    word(rig, "approve", str(held[0]["id"]), "approved")
    rig.run(30)
    assert sorted(rig.cloud.stops[1:]) == [held[0]["server_id"]]
    assert rig.views[-1].held == 1


def test_a_server_that_cannot_be_stopped_takes_no_room_of_the_guard() -> None:
    """Locked for an hour: another one passes at once; set free, it waits for room as any."""
    rig = Rig(program(credits=1))
    rig.cloud.add(server("a"), server("b"), server("c"))

    def refuse(id: str) -> None:
        if id == "a":
            raise Conflict("locked")

    rig.cloud.on_stop = refuse
    rig.run_until(T0 + 600)
    assert set(rig.cloud.stops) == {"a", "b"} and rig.cloud.stops.count("b") == 1
    rig.cloud.on_stop = lambda _: None
    rig.run_until(T0 + HOUR_S)
    assert running(rig) == {"a", "c"} and rig.views[-1].held == 2
    rig.run_until(T0 + HOUR_S + 600)
    assert len(running(rig)) == 1


def test_a_state_that_allows_no_poweroff_takes_no_room_of_the_guard() -> None:
    """Nothing can be sent for it: the others are stopped, one an hour."""
    rig = Rig(program(credits=1))
    rig.cloud.add(server("a", state="locked", allowed_actions=("backup",)), server("b"))
    rig.run_until(T0 + 600)
    assert rig.cloud.stops == ["b"]


def test_stops_that_all_failed_pass_the_guard_again() -> None:
    """A key that may not stop: when it may again, one server an hour is stopped, not all."""
    rig = Rig(program(credits=1))
    rig.cloud.add(server("a"), server("b"), server("c"))

    def forbid(_: str) -> None:
        raise Forbidden("403")

    rig.cloud.on_stop = forbid
    rig.run_until(T0 + 900)
    assert set(rig.cloud.stops) == {"a", "b", "c"}
    rig.cloud.on_stop = lambda _: None
    rig.run_until(T0 + HOUR_S)
    assert len(running(rig)) == 2


def test_what_the_guard_held_before_a_freeze_has_its_notice_again() -> None:
    """Two of three held, then a freeze: told again when it ends, and guarded as before."""
    rig = Rig(program(credits=1))
    rig.cloud.add(server("a"), server("b"), server("c"))
    rig.run_until(T0 + 300)
    word(rig, "freeze", EVERYONE, for_s=2 * HOUR_S)
    rig.run_until(T0 + 300 + 2 * HOUR_S, every_s=300)
    assert (len(running(rig)), verbs(rig).count("renew")) == (2, 2)
    rig.run(NOTICE_S - 1)
    assert len(running(rig)) == 2
    rig.run(1)
    assert (len(running(rig)), rig.views[-1].held) == (1, 1)


def test_a_wider_guard_lets_all_pass() -> None:
    """`part = "1"`: nothing is held."""
    base = program(credits=1)
    rig = Rig(replace(base, policy=replace(base.policy, guard_part_ppm=1_000_000)))
    rig.cloud.add(server("a"), server("b"), server("c"))
    rig.run_until(T0 + 300)
    assert len(rig.cloud.stops) == 3


def test_a_freeze_holds_what_is_due_until_its_end() -> None:
    """Notices are given during a freeze; at its end one has the minimum again, told as such."""
    rig = Rig()
    rig.cloud.add(server())
    word(rig, "freeze", EVERYONE, for_s=600)
    word(rig, "level", "acme", "stopped")
    rig.run_until(T0 + 599)
    assert (verbs(rig), rig.cloud.stops) == (["notify"], [])
    rig.run(1)
    assert verbs(rig) == ["notify", "renew"]
    notice = rig.all("notice")[0]
    assert notice["deadline_s"] == T0 + 600 + NOTICE_S
    assert "stops waited" in str(notice["text"])
    rig.run(NOTICE_S - 1)
    assert rig.cloud.stops == []
    rig.run(1)
    assert rig.cloud.stops == ["s1"]


def test_a_freeze_that_is_ended_early_renews_from_that_instant() -> None:
    """--end counts, not what the freeze was said to last; what is not yet due stays as it was."""
    rig = Rig()
    rig.cloud.add(server())
    word(rig, "freeze", EVERYONE, for_s=DAY_S)
    word(rig, "level", "acme", "stopped")
    rig.run_until(T0 + 300)
    word(rig, "freeze", EVERYONE, "off")
    rig.run_until(T0 + 390, every_s=30)
    assert rig.all("notice")[0]["deadline_s"] == T0 + 330 + NOTICE_S
    assert rig.cloud.stops == ["s1"]
    short = Rig()
    short.cloud.add(server())
    word(short, "freeze", EVERYONE, for_s=20)
    word(short, "level", "acme", "stopped")
    short.run()
    short.run(NOTICE_S)
    assert (verbs(short), short.cloud.stops) == (["notify", "stop"], ["s1"])


@pytest.mark.parametrize("subject", ["acme", "s1"])
def test_an_exemption_ends_by_itself(subject: str) -> None:
    """No rule names an exempt server or startup; afterwards it gets its full notice."""
    rig = Rig()
    rig.cloud.add(server())
    word(rig, "exempt", subject, for_s=600)
    word(rig, "level", "acme", "stopped")
    rig.run_until(T0 + 590)
    assert verbs(rig) == []
    rig.run(10)
    rig.run(NOTICE_S)
    assert rig.cloud.stops == ["s1"]
    (given,) = [row for row in rig.all("notice") if row["server_id"]]
    assert given["given_s"] == T0 + 600


def test_maintenance_meters_and_acts_on_nothing() -> None:
    """A stop that was due is not sent, a pending intent neither; charges go on."""
    rig = Rig()
    rig.cloud.add(server())
    word(rig, "level", "acme", "stopped")
    rig.run()
    word(rig, "maintenance", EVERYONE, for_s=2 * HOUR_S)
    rig.run_until(T0 + HOUR_S + 30)
    assert rig.cloud.stops == []
    assert rig.charged_ucr() > 0
    assert "in maintenance" in rig.views[-1].sentence
    rig.run_until(T0 + 2 * HOUR_S + NOTICE_S - 1)
    assert rig.cloud.stops == []
    rig.run_until(T0 + 2 * HOUR_S + NOTICE_S + 30)
    assert rig.cloud.stops == ["s1"]


def test_a_leak_is_announced_and_ended_and_a_running_server_is_none() -> None:
    """Stopped in place for the policy's 30 minutes: notice, then poweroff; running: never."""
    rig = Rig(policy(leak_after_s=1800))
    rig.cloud.add(server("busy"), server("s1", state="stopped in place"))
    rig.run()
    rig.run_until(T0 + 1799)
    assert verbs(rig) == []
    rig.run(1)
    rig.run(NOTICE_S)
    assert rig.cloud.stops == ["s1"]
    rig.run_until(T0 + 5 * HOUR_S, every_s=1800)
    assert rig.cloud.stops == ["s1"]


def test_a_leak_that_is_used_again_is_left_alone() -> None:
    """Powered on within the notice: it is cancelled."""
    rig = Rig(policy(leak_after_s=1800))
    rig.cloud.add(server("s1", state="stopped in place"))
    rig.run_until(T0 + 1830)
    rig.cloud.add(server("s1", since_s=T0 + 1831))
    rig.run_until(T0 + 3000)
    assert (verbs(rig), rig.cloud.stops) == (["notify", "cancelled"], [])


def test_what_ran_between_two_sweeps_and_leaks_again_has_a_notice_of_its_own() -> None:
    """The deadline of the first leak passed unseen: nothing is stopped on it, and all is told."""
    rig = Rig(policy(leak_after_s=1800))
    rig.cloud.add(server("s1", state="stopped in place"))
    rig.run_until(T0 + 1830)
    (first,) = rig.all("notice")
    rig.cloud.add(server("s1", state="stopped in place", since_s=first["deadline_s"] - 60))
    rig.clock.move_to(first["deadline_s"] + 1800)
    rig.run(0)
    assert (verbs(rig), rig.cloud.stops) == (["notify", "cancelled", "notify"], [])
    assert [row["state"] for row in rig.all("notice")] == ["cancelled", "open"]
    rig.run(NOTICE_S)
    assert rig.cloud.stops == ["s1"]


def test_a_server_that_cannot_be_stopped_is_visible_and_not_hammered() -> None:
    """Locked: each refusal is a failed intent, tried again ever later; an alarm names it."""
    rig = Rig()
    rig.cloud.add(server())
    word(rig, "level", "acme", "stopped")

    def refuse(_: str) -> None:
        raise Conflict("locked")

    rig.cloud.on_stop = refuse
    rig.run_until(T0 + 2 * HOUR_S, every_s=60)
    assert 5 <= len(rig.cloud.stops) <= 14
    assert rig.views[-1].stops_failing == 1
    assert any("s1 of acme cannot be stopped: tried" in each for each in rig.views[-1].alarms)
    assert {row["state"] for row in rig.all("intent")} <= {"failed", "pending", "sent"}
    assert FIRST_RETRY_S > 30


def test_a_state_that_allows_no_poweroff_is_not_asked_for_one() -> None:
    """`allowed_actions` without poweroff: no call, an alarm."""
    rig = Rig()
    rig.cloud.add(server(state="locked", allowed_actions=("backup",)))
    word(rig, "level", "acme", "stopped")
    rig.run_until(T0 + 600)
    assert rig.cloud.stops == []
    assert any("allows no poweroff" in each for each in rig.views[-1].alarms)


def test_a_word_is_kept_once_and_never_changed() -> None:
    """The same word again is the same row; another one names what it replaces."""
    rig = Rig()
    first, again = word(rig, "level", "acme", "closed"), word(rig, "level", "acme", "closed")
    assert first == again
    other = word(rig, "level", "acme", "stopped")
    assert other.before == "closed by ann: a test"
    assert len(rig.all("word")) == 2


def test_armed_over_a_file_that_says_shadow() -> None:
    """The word on the mode counts, and the promise of shadow starts anew in full."""
    rig = Rig(program(credits=1, mode="shadow"))
    rig.cloud.add(server())
    rig.run_until(T0 + 300)
    assert (rig.cloud.stops, verbs(rig)[-1]) == ([], "would-stop")
    word(rig, "mode", EVERYONE, "enforce")
    rig.run(30)
    notices = [row for row in rig.all("notice") if row["server_id"]]
    assert notices[-1]["deadline_s"] == T0 + 330 + NOTICE_S
    rig.run_until(T0 + 330 + NOTICE_S)
    assert rig.cloud.stops == ["s1"]
    word(rig, "mode", EVERYONE, "shadow")
    rig.run(30)
    assert rig.views[-1].mode == "shadow"


def test_what_only_operators_heard_in_shadow_is_told_when_it_is_armed() -> None:
    """A runway foretold a day ahead, in shadow alone: startups hear it, and stops are guarded."""
    rig = Rig(program(credits=2000, mode="shadow"))
    rig.cloud.add(server("a"), server("b"), server("c"))
    rig.run_until(T0 + 25 * HOUR_S, every_s=HOUR_S)
    word(rig, "mode", EVERYONE, "enforce")
    rig.run_until(T0 + 28 * HOUR_S, every_s=120)
    told = [(n["mode"], str(n["cause"])) for n in rig.all("notice") if n["rule"] == "runway"]
    assert [mode for mode, _ in told].count("shadow") == 2
    heard = [cause.split(":")[1] for mode, cause in told if mode == "enforce"]
    assert heard == ["86400", "3600", "600"], "the day's threshold was told in shadow too"
    assert (len(rig.cloud.stops), rig.views[-1].held) == (1, 2)


def test_the_policy_has_safe_defaults() -> None:
    """A quarter of the GPUs an hour, half an hour in place, an hour for what is borrowed."""
    made = Policy()
    assert (made.guard_part_ppm, made.leak_after_s, made.minimum_runtime_s) == (250_000, 1800, 3600)
