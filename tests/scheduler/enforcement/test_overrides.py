"""Operator overrides on a real book: freeze, exemption and maintenance."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from quotas.book.schema.tables import INTENT
from quotas.book.verify.verify import verify
from quotas.model.units import DAY_S, HOUR_S
from quotas.state.overrides import EVERYONE
from tests.scheduler.harness import NOTICE_S, T0, Harness, override, program, row_text, server
from tests.scheduler.scenarios import (
    exhausted_harness,
    last_notice,
    notice_length_s,
    throttle,
    turn,
    verbs_of,
)


def test_after_an_exemption_there_is_a_whole_notice() -> None:
    """A server that was exempt for a day gets a new, whole notice."""
    harness = exhausted_harness()
    override(harness, "exempt", "acme", for_s=DAY_S)
    turn(harness, "s1", "running")
    harness.run_until(harness.clock.now_s() + DAY_S + HOUR_S, HOUR_S // 4)
    assert notice_length_s(harness) == 1800 and harness.all("notice")[-1]["opened_s"] > T0 + DAY_S


def test_a_freeze_defers_a_stop_that_was_not_sent_yet() -> None:
    """A throttled stop is not sent in a freeze, and a new notice follows the freeze."""
    harness = Harness(program(limit=0))
    harness.cloud.add(server())
    throttle(harness, harness.cloud.stops, 1)
    harness.run_until(T0 + 90)
    assert len(harness.cloud.stops) == 1 and last_notice(harness)["state"] == "executing"
    override(harness, "freeze", "acme", for_s=HOUR_S)
    harness.run_until(T0 + 90 + HOUR_S - 30, 300)
    assert len(harness.cloud.stops) == 1
    assert [row["state"] for row in harness.all("intent")] == ["abandoned"]
    harness.run(60)
    assert (last_notice(harness)["state"], len(harness.cloud.stops)) == ("open", 1)
    harness.run_until(harness.clock.now_s() + 120)
    assert len(harness.cloud.stops) == 2
    assert verify(harness.book).fault is None
    with harness.book.writing() as connection:
        connection.execute(update(INTENT).where(INTENT.c.id == 1).values(decided_s=T0 + 59))
    assert "intent 1 was decided before its notice's deadline" in str(verify(harness.book).fault)


def test_a_freeze_defers_due_stops_until_its_end() -> None:
    """Notices are given in a freeze; at its end each has the minimum again and announces it."""
    harness = Harness()
    harness.cloud.add(server())
    override(harness, "freeze", EVERYONE, for_s=600)
    override(harness, "level", "acme", "stopped")
    harness.run_until(T0 + 599)
    assert (verbs_of(harness), harness.cloud.stops) == (["notify"], [])
    harness.run(1)
    assert verbs_of(harness) == ["notify", "extend"]
    notice = harness.all("notice")[0]
    assert notice["deadline_s"] == T0 + 600 + NOTICE_S
    assert "stops waited" in row_text(notice)
    harness.run(NOTICE_S - 1)
    assert harness.cloud.stops == []
    harness.run(1)
    assert harness.cloud.stops == ["s1"]


def test_a_freeze_that_is_ended_early_renews_from_that_instant() -> None:
    """A freeze that ends early frees its stops; a notice that is not yet due does not change."""
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
    assert (verbs_of(short), short.cloud.stops) == (["notify", "stop"], ["s1"])


@pytest.mark.parametrize("subject", ["acme", "s1"], ids=["of a startup", "of a server"])
def test_an_exemption_ends_by_itself(subject: str) -> None:
    """No rule names an exempt server or startup; afterwards it gets its full notice."""
    harness = Harness()
    harness.cloud.add(server())
    override(harness, "exempt", subject, for_s=600)
    override(harness, "level", "acme", "stopped")
    harness.run_until(T0 + 590)
    assert verbs_of(harness) == []
    harness.run(10)
    harness.run(NOTICE_S)
    assert harness.cloud.stops == ["s1"]
    (given,) = [row for row in harness.all("notice") if row["server_id"]]
    assert given["opened_s"] == T0 + 600


def test_maintenance_meters_and_acts_on_nothing() -> None:
    """In maintenance no stop and no pending intent is sent, and charges continue."""
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


def test_an_override_is_kept_once_and_never_changed() -> None:
    """The same override again adds no row; a different one names the override that it replaces."""
    harness = Harness()
    first, again = (
        override(harness, "level", "acme", "closed"),
        override(harness, "level", "acme", "closed"),
    )
    assert first == again
    other = override(harness, "level", "acme", "stopped")
    assert other.before == "closed by ann: a test"
    assert len(harness.all("override")) == 2
