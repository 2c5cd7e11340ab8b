"""Instance v1, products: the types that a zone sells, and their availability."""

from __future__ import annotations

import json

from simulator.api import render
from simulator.api.requests import Answer, Call, answer, page_headers
from simulator.world import FaultKind, Offer


def list_types(call: Call) -> Answer:
    """GET products/servers: fifty types on a page, fewer than a zone sells."""
    page, size = call.page("per_page", 50)
    offers = call.world.offers(call.zone)
    headers = page_headers(call, "products/servers", page, size, len(offers))
    body = _types(call, offers, page, size)
    world, path = call.world, f"/instance/v1/zones/{call.zone}/products/servers"
    if world.faults.take(FaultKind.MISSING_PRICE, world.now_s, call.zone, path, "GET"):
        body = _without_prices(body)
    return Answer(body, headers=headers)


def _types(call: Call, offers: tuple[Offer, ...], page: int, size: int) -> bytes:
    """A page, rendered once for as long as prices stay the same."""
    key = (call.zone, page, size, call.world.market.changes_in_force(call.world.now_s))
    if key not in call.region_app.pages:
        part = offers[(page - 1) * size : page * size]
        listed = {sold.commercial_type: render.offer(sold) for sold in part}
        call.region_app.pages[key] = json.dumps({"servers": listed}).encode()
    return call.region_app.pages[key]


def _without_prices(body: bytes) -> bytes:
    """The same page, without a price for the types that have GPUs."""
    page = json.loads(body)
    for listed in page["servers"].values():
        if listed["gpu"]:
            del listed["hourly_price"]
    return json.dumps(page).encode()


def list_availability(call: Call) -> Answer:
    """GET products/servers/availability: available, scarce or shortage, by type."""
    page, size = call.page("per_page", 50)
    offers = call.world.offers(call.zone)
    part = offers[(page - 1) * size : page * size]
    listed = {
        sold.commercial_type: {"availability": call.world.availability(sold)} for sold in part
    }
    headers = page_headers(call, "products/servers/availability", page, size, len(offers))
    return Answer(answer({"servers": listed}).body, headers=headers)
