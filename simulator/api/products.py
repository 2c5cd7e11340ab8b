"""Instance v1, products: the types that a zone sells, and their availability."""

from __future__ import annotations

from dataclasses import replace

from simulator.api import render
from simulator.api.requests import Answer, Call, answer, instance_page
from simulator.world.faults import FaultKind


def list_types(call: Call) -> Answer:
    """GET products/servers: fifty types on a page, fewer than a zone sells."""
    part, headers = instance_page(call, "products/servers", call.world.offers(call.zone))
    listed = {sold.commercial_type: render.offer(sold) for sold in part}
    if call.take_fault(FaultKind.MISSING_PRICE, "products/servers"):
        for offer in listed.values():
            if offer["gpu"]:
                del offer["hourly_price"]
    return replace(answer({"servers": listed}), headers=headers)


def list_availability(call: Call) -> Answer:
    """GET products/servers/availability: available, scarce or shortage, by type."""
    name, world = "products/servers/availability", call.world
    part, headers = instance_page(call, name, world.offers(call.zone))
    listed = {sold.commercial_type: {"availability": world.availability(sold)} for sold in part}
    return replace(answer({"servers": listed}), headers=headers)
