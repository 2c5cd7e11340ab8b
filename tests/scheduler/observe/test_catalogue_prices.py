"""A catalogue price is believed once, if it is plausible; otherwise it alarms."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quotas.book.cycle.state import load_state
from quotas.metering.prices import HIGHEST_UCR_PER_H, LOWEST_UCR_PER_H, price_fault
from quotas.model.observation import Offer
from quotas.model.units import HOUR_S, Period, cost_ucr, format_credits
from scheduler.clouds.base import Unreachable
from scheduler.observe.catalogue import REFRESH_S
from scheduler.observe.zones import FIRST_PAUSE_S

from ..harness import RATE, T0, TYPE, ZONE, Harness, offer, server


@pytest.mark.parametrize(
    ("rate", "why"),
    [
        pytest.param(None, "no price", id="the price is missing"),
        pytest.param(0, "absurd", id="the price is zero"),
        pytest.param(8 * LOWEST_UCR_PER_H - 1, "absurd", id="the price is below the lowest"),
        pytest.param(8 * HIGHEST_UCR_PER_H + 8, "absurd", id="the price is above the highest"),
    ],
)
def test_a_price_that_cannot_be_is_refused_and_alarmed(rate: int | None, why: str) -> None:
    """No rate is put in force; the server is metered, and its charge waits for a price."""
    harness = Harness()
    harness.cloud.offers_of[ZONE] = (offer(rate),)
    harness.cloud.add(server())
    harness.run()
    harness.run(2 * HOUR_S)
    assert not harness.all("price") and harness.charged_ucr() == 0
    assert any(why in text for text in harness.views[-1].alarms)


def test_a_catalogue_read_by_a_clock_that_was_ahead_is_read_again() -> None:
    """After a step back the next cycle reads the catalogue, without waiting for the old instant."""
    harness = Harness()
    harness.run(REFRESH_S)
    harness.clock.step(-REFRESH_S)
    harness.cloud.offers_of[ZONE] = (offer(), offer(RATE, "H100-NEW-8-80G"))
    harness.run(30)
    assert f"H100-NEW-8-80G@{ZONE}" in load_state(harness.book).catalogue.gpus


def test_the_believable_price_that_follows_charges_all_that_ran() -> None:
    """When the catalogue is right again, use without a price is charged from its start."""
    harness = Harness()
    harness.cloud.add(server("s0"))
    harness.run()
    harness.cloud.offers_of[ZONE] = (offer(), offer(None, "H100-NEW-8-80G"))
    harness.run(REFRESH_S)
    from_s = harness.clock.now_s() + 10
    harness.cloud.add(server("s2", from_s, commercial_type="H100-NEW-8-80G"))
    harness.run(30)
    harness.cloud.offers_of[ZONE] = (offer(), offer(RATE, "H100-NEW-8-80G"))
    harness.run(REFRESH_S)
    (new,) = [row for row in harness.all("run") if row["server_id"] == "s2"]
    assert (new["rate_ucr_per_h"], new["start_s"]) == (RATE, from_s)
    harness.cloud.turn_off("s0")
    harness.cloud.turn_off("s2")
    until_s = harness.clock.now_s()
    harness.run(30)
    assert harness.charged_ucr() == sum(
        cost_ucr(RATE, each_s, Period(each_s, until_s)) for each_s in (T0, from_s)
    )


def test_an_absurd_price_of_what_has_one_changes_nothing() -> None:
    """The rate in force keeps charging, and no other rate is written."""
    harness = Harness()
    harness.cloud.add(server())
    harness.run()
    harness.cloud.offers_of[ZONE] = (offer(0),)
    harness.run_until(T0 + REFRESH_S + HOUR_S, HOUR_S)
    assert any("absurd" in alarm for alarm in harness.views[-1].alarms)
    assert [row["rate_ucr_per_h"] for row in harness.all("price")] == [RATE]
    assert harness.charged_ucr() == cost_ucr(RATE, T0, Period(T0, T0 + REFRESH_S + HOUR_S))


def test_edge_prices_are_believed() -> None:
    """A price exactly at a bound is accepted."""
    assert price_fault(offer(8 * LOWEST_UCR_PER_H)) is None
    assert price_fault(offer(8 * HIGHEST_UCR_PER_H)) is None


def test_a_changed_price_alarms_and_changes_no_rate() -> None:
    """The old rate keeps charging, the alarm names both, and the sponsor bears the difference."""
    harness = Harness()
    harness.cloud.add(server())
    harness.run()
    harness.cloud.offers_of[ZONE] = (offer(2 * RATE),)
    harness.run_until(harness.clock.now_s() + REFRESH_S + HOUR_S, HOUR_S)
    assert any(
        f"listed at {format_credits(2 * RATE)} an hour" in text for text in harness.views[-1].alarms
    )
    assert harness.charged_ucr() == RATE * (REFRESH_S + HOUR_S) // HOUR_S
    assert [row["rate_ucr_per_h"] for row in harness.all("price")] == [RATE]
    assert harness.rows("balance")["price-difference:c"] == -RATE, "of the hour since it was listed"


def test_a_catalogue_that_cannot_be_read_alarms_and_is_asked_again() -> None:
    """A failed read is not remembered as an answer: after a pause it is tried again."""
    harness = Harness()
    broken: list[str] = []

    def offers(zone: str) -> tuple[Offer, ...]:
        broken.append(zone)
        raise Unreachable("no route")

    good = harness.cloud.offers
    harness.cloud.offers = offers  # type: ignore[method-assign]  # a catalogue that is down
    harness.cloud.add(server())
    harness.run()
    assert any("not known: no route" in text for text in harness.views[-1].alarms)
    harness.cloud.offers = good  # type: ignore[method-assign]  # and up again
    harness.run(FIRST_PAUSE_S - 1)
    assert harness.views[-1].alarms and not harness.all("price")
    harness.run(1)
    assert not harness.views[-1].alarms and harness.all("price")
    assert sorted(broken) == sorted(set(broken))


def test_offers_without_gpus_are_nobodys_business() -> None:
    """A CPU type is neither priced nor alarmed, whatever it costs."""
    harness = Harness()
    cpu = replace(offer(0), commercial_type="DEV1-S", gpus=0)
    harness.cloud.offers_of[ZONE] = (cpu, offer())
    harness.run()
    assert [row["flavor"] for row in harness.all("price")] == [f"{TYPE}@{ZONE}"]
    assert not harness.views[-1].alarms


def test_a_zone_without_a_catalogue_is_unknown() -> None:
    """A server of a type that no catalogue lists is not charged, and its zone is not confirmed."""
    harness = Harness()
    harness.cloud.add(server())

    def fails(_: str) -> tuple[Offer, ...]:
        raise Unreachable("no answer in time")

    offers = harness.cloud.offers
    harness.cloud.offers = fails  # type: ignore[method-assign]  # a catalogue that is down
    harness.run_until(T0 + 300)
    assert {zone.outcome for zone in harness.views[-1].zones} == {"unknown"}
    assert harness.all("run") == []
    assert {row["confirmed_until_s"] for row in harness.all("zone")} == {None}
    harness.cloud.offers = offers  # type: ignore[method-assign]  # and up again
    harness.run_until(T0 + 900)
    (run,) = harness.all("run")
    assert T0 + 300 < int(str(run["start_s"])) <= T0 + 600, "first seen when its type was known"
