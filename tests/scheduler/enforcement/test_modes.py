"""The enforcement modes on a real book: off, shadow and enforce."""

from __future__ import annotations

from dataclasses import replace

from quotas.book.cycle.commit import apply_program
from quotas.model.units import DAY_S, HOUR_S
from quotas.state.overrides import EVERYONE
from tests.scheduler.harness import NOTICE_S, T0, Harness, override, program, server
from tests.scheduler.scenarios import (
    exhausted_harness,
    last_notice,
    notice_length_s,
    turn,
    verbs_of,
)


def test_after_rearming_every_server_has_a_whole_notice() -> None:
    """A stop before the program was disarmed does not shorten a later notice."""
    harness = exhausted_harness()
    override(harness, "mode", EVERYONE, "shadow")
    turn(harness, "s1", "running")
    harness.run_until(harness.clock.now_s() + DAY_S, HOUR_S)
    override(harness, "mode", EVERYONE, "enforce")
    harness.run(30)
    assert (
        last_notice(harness)["mode"],
        last_notice(harness)["state"],
        notice_length_s(harness),
    ) == (
        "enforce",
        "open",
        1800,
    )
    assert harness.cloud.stops == ["s1"], "only the one of before"


def test_mode_off_cancels_notices() -> None:
    """A notice from before mode off does not count after it."""
    base = program(limit=0, notice_s=1800)
    harness = Harness(base)
    harness.cloud.add(server())
    harness.run()
    apply_program(harness.book, replace(base, mode="off"), harness.clock.now_s(), "ann")
    harness.run_until(T0 + DAY_S, HOUR_S)
    assert last_notice(harness)["state"] == "cancelled"
    apply_program(harness.book, base, harness.clock.now_s(), "ann")
    harness.run(30)
    assert (
        last_notice(harness)["state"] == "open"
        and notice_length_s(harness) == 1800
        and harness.cloud.stops == []
    )


def test_arming_overrides_a_file_that_says_shadow() -> None:
    """The override of the mode counts, and the shadow notice starts again in full."""
    harness = Harness(program(credits=1, mode="shadow"))
    harness.cloud.add(server())
    harness.run_until(T0 + 300)
    assert (harness.cloud.stops, verbs_of(harness)[-1]) == ([], "would-stop")
    override(harness, "mode", EVERYONE, "enforce")
    harness.run(30)
    notices = [row for row in harness.all("notice") if row["server_id"]]
    assert notices[-1]["deadline_s"] == T0 + 330 + NOTICE_S
    harness.run_until(T0 + 330 + NOTICE_S)
    assert harness.cloud.stops == ["s1"]
    override(harness, "mode", EVERYONE, "shadow")
    harness.run(30)
    assert harness.views[-1].status.program.mode == "shadow"


def test_shadow_announcements_are_repeated_after_arming() -> None:
    """A runway announced in shadow is announced again, and its stops need the budget."""
    harness = Harness(program(credits=2000, mode="shadow"))
    harness.cloud.add(server("a"), server("b"), server("c"))
    harness.run_until(T0 + 25 * HOUR_S, every_s=HOUR_S)
    override(harness, "mode", EVERYONE, "enforce")
    harness.run_until(T0 + 28 * HOUR_S, every_s=120)
    told = [(n["mode"], str(n["episode"])) for n in harness.all("notice") if n["rule"] == "runway"]
    assert [mode for mode, _ in told].count("shadow") == 2
    heard = [episode.split(":")[1] for mode, episode in told if mode == "enforce"]
    assert heard == ["86400", "3600", "600"], "the day's threshold was told in shadow too"
    assert (len(harness.cloud.stops), harness.views[-1].status.stops_deferred) == (1, 2)
