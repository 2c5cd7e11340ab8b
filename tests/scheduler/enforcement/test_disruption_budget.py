"""The disruption budget on a real book: how many stops an hour may have."""

from __future__ import annotations

from dataclasses import replace

from quotas.model.units import HOUR_S
from quotas.state.overrides import EVERYONE
from scheduler.clouds.base import Conflict, Forbidden
from tests.scheduler.harness import NOTICE_S, T0, Harness, override, program, server
from tests.scheduler.scenarios import verbs_of


def running_servers(harness: Harness) -> set[str]:
    """Running servers of acme."""
    return {each.id for each in harness.cloud.servers.values() if each.state == "running"}


def test_the_budget_allows_one_stop_and_defers_the_others() -> None:
    """Of three servers at the end of credits one is stopped an hour; the others are deferred."""
    harness = Harness(program(credits=1))
    harness.cloud.add(server("a"), server("b"), server("c"))
    harness.run_until(T0 + 300)
    assert len(harness.cloud.stops) == 1
    view = harness.views[-1]
    assert (view.status.stops_deferred, verbs_of(harness).count("defer")) == (2, 2)
    assert "2 stops deferred" in view.sentence
    harness.run_until(T0 + 300 + HOUR_S)
    assert len(harness.cloud.stops) == 2, "an hour later the next one passes: nothing is lost"


def test_an_approved_stop_is_not_deferred() -> None:
    """An approved notice is executed in the next cycle."""
    harness = Harness(program(credits=1))
    harness.cloud.add(server("a"), server("b"), server("c"))
    harness.run_until(T0 + 300)
    stops_deferred = [row for row in harness.all("notice") if row["state"] == "deferred"]
    override(harness, "approve", str(stops_deferred[0]["id"]), "approved")
    harness.run(30)
    assert sorted(harness.cloud.stops[1:]) == [stops_deferred[0]["server_id"]]
    assert harness.views[-1].status.stops_deferred == 1


def test_a_server_that_cannot_be_stopped_uses_no_budget() -> None:
    """While one server is locked another is stopped; once unlocked, it waits like any other."""
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
    assert running_servers(harness) == {"a", "c"} and harness.views[-1].status.stops_deferred == 2
    harness.run_until(T0 + HOUR_S + 600)
    assert len(running_servers(harness)) == 1


def test_a_state_that_allows_no_poweroff_uses_no_budget() -> None:
    """No call can be made for a locked server, so the others are stopped, one an hour."""
    harness = Harness(program(credits=1))
    harness.cloud.add(server("a", state="locked", allowed_actions=("backup",)), server("b"))
    harness.run_until(T0 + 600)
    assert harness.cloud.stops == ["b"]


def test_failed_stops_need_the_budget_again() -> None:
    """After a key regains its permission, one server an hour is stopped, not all."""
    harness = Harness(program(credits=1))
    harness.cloud.add(server("a"), server("b"), server("c"))

    def forbid(_: str) -> None:
        raise Forbidden("403")

    harness.cloud.on_stop = forbid
    harness.run_until(T0 + 900)
    assert set(harness.cloud.stops) == {"a", "b", "c"}
    harness.cloud.on_stop = lambda _: None
    harness.run_until(T0 + HOUR_S)
    assert len(running_servers(harness)) == 2


def test_a_deferred_stop_has_its_notice_again_after_a_freeze() -> None:
    """Deferred stops get a new minimum notice after a freeze, and the budget still applies."""
    harness = Harness(program(credits=1))
    harness.cloud.add(server("a"), server("b"), server("c"))
    harness.run_until(T0 + 300)
    override(harness, "freeze", EVERYONE, for_s=2 * HOUR_S)
    harness.run_until(T0 + 300 + 2 * HOUR_S, every_s=300)
    assert (len(running_servers(harness)), verbs_of(harness).count("extend")) == (2, 2)
    harness.run(NOTICE_S - 1)
    assert len(running_servers(harness)) == 2
    harness.run(1)
    assert (len(running_servers(harness)), harness.views[-1].status.stops_deferred) == (1, 1)


def test_a_wider_budget_allows_all_stops() -> None:
    """With the whole fleet as budget nothing is deferred."""
    base = program(credits=1)
    harness = Harness(replace(base, policy=replace(base.policy, disruption_budget_ppm=1_000_000)))
    harness.cloud.add(server("a"), server("b"), server("c"))
    harness.run_until(T0 + 300)
    assert len(harness.cloud.stops) == 3
