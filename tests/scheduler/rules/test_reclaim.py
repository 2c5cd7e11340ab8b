"""The reclaim rule on a real book: lent GPUs go back to a waiting owner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace

import pytest

from quotas.book.actions.requests import open_request
from quotas.book.cycle.commit import apply_program
from quotas.book.cycle.state import load_state
from quotas.messages.catalogue.requests import position_text
from quotas.model.observation import Cause, Unknown
from quotas.model.program import Cohort, Grant, Startup, Tenure
from quotas.model.units import DAY_S, HOUR_S
from quotas.state.requests import RequestSpec
from scheduler.clouds.base import CloudError, Unreachable
from scheduler.views.status import status_of
from tests.scheduler.harness import (
    END,
    NOTICE_S,
    OTHER,
    T0,
    TYPE,
    ZONE,
    Harness,
    override,
    program,
    row_text,
    server,
)
from tests.scheduler.scenarios import lending_harness, request_back, throttle


def test_a_reclaim_that_was_not_sent_yet_waits_for_every_zone_of_the_pool() -> None:
    """A throttled reclaim is not sent while another zone of the pool does not answer."""
    base = program()
    lender = Startup("birch", "c", (Tenure(OTHER, 0),), nominal={"h100": 8})
    lender = replace(lender, grants=(Grant("g2", 10**10, T0, END),))
    borrower = replace(base.cohorts[0].startups[0], limit={})
    flavors = (f"{TYPE}@{ZONE}", f"{TYPE}@fr-par-1")
    pool = replace(base.pools[0], capacity=((0, 16),), flavors=flavors)
    policy = replace(base.policy, disruption_budget_ppm=1_000_000, minimum_runtime_s=60)
    cohort = Cohort("c", T0, END, (borrower, lender))
    harness = Harness(replace(base, pools=(pool,), cohorts=(cohort,), policy=policy))
    harness.cloud.add(server("old"))
    harness.run()
    harness.cloud.add(server("new", T0 + 20))
    harness.run(30)
    open_request(
        harness.book, RequestSpec("birch", "h100", 8, DAY_S, "t", "birch", harness.clock.now_s())
    )
    throttle(harness, harness.cloud.stops, 1)
    while not harness.cloud.stops:
        harness.run(30)
    harness.cloud.answers["fr-par-1"] = lambda at: Unknown(
        "fr-par-1", at, Cause.UNREACHABLE, "down"
    )
    harness.run_until(harness.clock.now_s() + 300)
    assert len(harness.cloud.stops) == 1
    del harness.cloud.answers["fr-par-1"]
    harness.run_until(harness.clock.now_s() + 90)
    assert len(harness.cloud.stops) == 2


def set_capacity(harness: Harness, from_s: int, gpus: int) -> None:
    """The program file gives the pool another number of GPUs from an instant on."""
    found = load_state(harness.book).program
    assert found is not None
    (pool,) = found.pools
    pools = (replace(pool, capacity=(*pool.capacity, (from_s, gpus))),)
    apply_program(harness.book, replace(found, pools=pools), harness.clock.now_s(), "tests")


def test_an_owner_gets_its_quota_back_from_the_newest_server() -> None:
    """After minimum runtime and notice the newest server stops; the other keeps running."""
    harness = lending_harness()
    request_back(harness)
    harness.run_until(T0 + HOUR_S + 20)
    assert harness.cloud.stops == []
    harness.run_until(T0 + HOUR_S + 300)
    assert harness.cloud.stops == ["new"]
    notice = next(n for n in harness.all("notice") if n["rule"] == "reclaim")
    assert int(str(notice["deadline_s"])) >= T0 + 20 + HOUR_S
    harness.run_until(T0 + 3 * HOUR_S, every_s=600)
    assert harness.cloud.stops == ["new"]


@pytest.mark.parametrize(
    "refused", ["", "quota"], ids=["the owner may start", "the quota refused the owner"]
)
def test_a_pool_with_room_is_reclaimed_only_where_the_quota_refuses(refused: str) -> None:
    """With 16 of 24 GPUs in use the owner may start its 8, unless Scaleway's quota refused."""
    harness = lending_harness(gpus=24)
    request_back(harness, refused)
    harness.run_until(T0 + 2 * HOUR_S, every_s=120)
    assert harness.cloud.stops == (["new"] if refused else [])
    given = [n for n in harness.all("notice") if n["rule"] == "reclaim"]
    assert bool(given) == bool(refused)
    harness.cloud.add(server("own", harness.clock.now_s(), project_id=OTHER))
    harness.run(60)
    assert harness.all("request")[0]["state"] == "fulfilled"
    harness.run_until(T0 + 4 * HOUR_S, every_s=300)
    assert harness.cloud.stops == (["new"] if refused else [])


def test_a_refusal_for_quota_takes_nothing_of_what_is_an_owners_own() -> None:
    """A startup keeps the servers within its nominal quota, whatever another startup reports."""
    harness = lending_harness(gpus=24, nominal=16)
    request_back(harness, "quota")
    harness.run_until(T0 + 3 * HOUR_S, every_s=300)
    assert harness.cloud.stops == [] and not any(n["server_id"] for n in harness.all("notice"))


def test_a_refusal_for_quota_in_a_shortage_is_deferred() -> None:
    """In a shortage the GPUs would go to Scaleway, also if an owner reports a refusal."""
    harness = lending_harness(gpus=24)
    override(harness, "shortage", "h100", for_s=DAY_S)
    request_back(harness, "quota")
    harness.run_until(T0 + 3 * HOUR_S, every_s=300)
    assert harness.cloud.stops == [] and any(n["rule"] == "deferral" for n in harness.all("notice"))


def test_a_reclaim_is_deferred_in_a_shortage_and_announced_to_both() -> None:
    """The GPUs would go to Scaleway, not to the owner, so nobody is evicted."""
    harness = lending_harness()
    override(harness, "shortage", "h100", for_s=DAY_S)
    request_back(harness)
    harness.run_until(T0 + 3 * HOUR_S, every_s=300)
    assert harness.cloud.stops == []
    told = {str(n["startup"]) for n in harness.all("notice") if n["rule"] == "deferral"}
    assert told == {"acme", "birch"}


@pytest.mark.parametrize(
    "stock",
    ["shortage", "sold out", Unreachable("no answer")],
    ids=["a shortage is listed", "an unknown word is listed", "the stock cannot be read"],
)
def test_a_reclaim_is_deferred_while_scaleway_lists_none(stock: str | CloudError) -> None:
    """If the catalogue says shortage, another word or nothing, nobody is evicted."""
    harness = lending_harness()
    harness.cloud.in_stock = stock
    assert harness.cloud.stock_reads == 0, "nobody waits"
    request_back(harness)
    harness.run_until(T0 + 3 * HOUR_S, every_s=300)
    assert harness.cloud.stops == []
    told = {
        str(n["startup"]): row_text(n) for n in harness.all("notice") if n["rule"] == "deferral"
    }
    assert harness.views[-1].deferred_gpus == {"h100": 8}
    override = stock if isinstance(stock, str) else "unread"
    assert set(told) == {"acme", "birch"} and f"Scaleway says {override!r} of what" in told["acme"]
    harness.cloud.in_stock = "scarce"
    harness.run_until(T0 + 4 * HOUR_S, every_s=60)
    assert harness.cloud.stops == ["new"] and harness.views[-1].deferred_gpus == {}


def test_a_stopped_owner_reclaims_nothing_and_status_agrees() -> None:
    """Stopping birch cancels acme's notice, and birch reads why it waits."""
    harness = lending_harness()
    request_back(harness)
    harness.run_until(T0 + HOUR_S, every_s=60)
    assert [n["state"] for n in harness.all("notice") if n["rule"] == "reclaim"] == ["open"]
    override(harness, "level", "birch", "stopped")
    harness.run_until(T0 + 3 * HOUR_S, every_s=300)
    assert harness.cloud.stops == []
    assert [n["state"] for n in harness.all("notice") if n["rule"] == "reclaim"] == ["cancelled"]
    view, shown = harness.views[-1], status_of(harness.book, harness.clock.now_s())
    assert shown["shares"] == [asdict(share) for share in view.status.shares]
    (told,), (line,) = view.status.requests, shown["requests"]
    assert (position_text(told), told.place) == (line["text"], line["position"])
    assert "it is stopped and asks for nothing: ann said so at" in line["text"]


def list_shortage(harness: Harness) -> None:
    """Scaleway's catalogue begins to say shortage."""
    harness.cloud.in_stock = "shortage"


def turn_off_unread(harness: Harness) -> None:
    """The stock cannot be read for an hour, then the borrower turns its server off."""
    harness.cloud.in_stock = Unreachable("no answer")
    harness.run_until(T0 + 2 * HOUR_S, every_s=60)
    harness.cloud.turn_off("new")


def stop_owner(harness: Harness) -> None:
    """An operator stops the waiting owner."""
    override(harness, "level", "birch", "stopped")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(list_shortage, id="a shortage begins"),
        pytest.param(turn_off_unread, id="the borrower turns its server off"),
        pytest.param(stop_owner, id="the owner may start no servers"),
    ],
)
def test_a_reclaim_is_cancelled_inside_its_notice(change: Callable[[Harness], None]) -> None:
    """An open reclaim notice is cancelled, and nothing is stopped, if its reason ends."""
    harness = lending_harness()
    request_back(harness)
    harness.run_until(T0 + HOUR_S, every_s=60)
    assert [n["state"] for n in harness.all("notice") if n["rule"] == "reclaim"] == ["open"]
    change(harness)
    harness.run_until(T0 + 3 * HOUR_S, every_s=60)
    assert harness.cloud.stops == []
    assert [n["state"] for n in harness.all("notice") if n["rule"] == "reclaim"] == ["cancelled"]


@pytest.mark.parametrize(
    "others", ["available", "shortage"], ids=["stock afterwards", "a shortage afterwards"]
)
def test_a_stock_that_cannot_be_read_suspends_a_notice(others: str) -> None:
    """An unknown stock sends nothing and keeps the notice; only a shortage cancels it."""
    harness = lending_harness()
    request_back(harness)
    harness.run_until(T0 + HOUR_S, every_s=60)
    (given,) = [n for n in harness.all("notice") if n["rule"] == "reclaim"]
    harness.cloud.in_stock = Unreachable("no answer")
    harness.run_until(T0 + 2 * HOUR_S, every_s=60)
    assert harness.cloud.stops == [] and harness.views[-1].deferred_gpus == {"h100": 8}
    assert [n for n in harness.all("notice") if n["rule"] == "reclaim"] == [given]
    harness.cloud.in_stock = others
    harness.run_until(T0 + 2 * HOUR_S + 600, every_s=60)
    (after,) = [n for n in harness.all("notice") if n["rule"] == "reclaim"]
    assert after["deadline_s"] == given["deadline_s"]
    shortage = others == "shortage"
    assert harness.cloud.stops == ([] if shortage else ["new"])
    assert after["state"] == ("cancelled" if shortage else "executed")


def test_reserved_capacity_is_reclaimed_whatever_scaleway_has() -> None:
    """With reserved backing an evicted GPU stays the program's."""
    harness = lending_harness("reserved")
    harness.cloud.in_stock = "shortage"
    override(harness, "shortage", "h100", for_s=DAY_S)
    request_back(harness)
    harness.run_until(T0 + 2 * HOUR_S, every_s=60)
    assert harness.cloud.stops == ["new"]
    (text,) = [row_text(n) for n in harness.all("notice") if n["server_id"]]
    assert "is erased; its slot stays the program's; volumes stay." in text


def test_a_smaller_pool_is_divided_again_and_only_a_waiting_owner_reclaims() -> None:
    """From 24 GPUs to 8: acme, with 16, is notified, and stopped only after birch's request."""
    harness = lending_harness(gpus=24)
    cut_s = harness.clock.now_s() + 600
    set_capacity(harness, cut_s, 8)
    harness.run_until(cut_s - 1, every_s=60)
    assert {each.startup: each.share for each in harness.views[-1].status.shares}["acme"] == 16
    assert harness.all("notice") == []
    harness.run(1)
    assert {each.startup: each.share for each in harness.views[-1].status.shares}["acme"] == 8
    (told,) = harness.all("notice")
    assert "acme runs 16 GPUs in h100, 8 above its share of 8" in row_text(told)
    harness.run_until(cut_s + 3 * HOUR_S, every_s=600)
    assert harness.cloud.stops == [], "nobody waits"
    request_back(harness)
    asked_s = harness.clock.now_s()
    harness.run_until(asked_s + NOTICE_S - 1, every_s=30)
    assert harness.cloud.stops == []
    harness.run_until(asked_s + HOUR_S, every_s=30)
    assert harness.cloud.stops == ["new", "old"], "birch's nominal 8 are all that the pool has"
