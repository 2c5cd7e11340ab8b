"""Controls for tests and demos: move the clock, read the ground truth, inject faults.

Served under /_control, without a key: Scaleway has nothing like it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from simulator.api.requests import Answer, Call, answer
from simulator.world.faults import Fault, FaultKind
from simulator.world.lifecycle import Move
from simulator.world.model import Refusal
from simulator.world.offers.catalogue import OFFERS
from simulator.world.offers.market import PriceChange
from simulator.world.region import World


def read_clock(call: Call) -> Answer:
    """GET clock: the world's time, and when it next does something by itself."""
    world = call.world
    return answer({"now_s": world.now_s, "next_change_s": world.next_change_s()})


def move_clock(call: Call) -> Answer:
    """POST clock {"now_s"}: play everything up to that instant."""
    if call.region_app.clock.speed is not None:
        raise _bad(409, "the clock runs by itself; start with --clock controller")
    now_s = call.body.get("now_s")
    if not isinstance(now_s, int) or now_s < call.world.now_s:
        raise _bad(400, f"now_s is an integer, not before {call.world.now_s}")
    call.world.advance(now_s)
    return read_clock(call)


def read_truth(call: Call) -> Answer:
    """GET truth: the true runs, and every price."""
    world = call.world
    runs = [asdict(run) for run in world.truth()]
    lost = [asdict(loss) for loss in world.scratch_lost]
    return answer(
        {"now_s": world.now_s, "runs": runs, "prices": _prices(world), "scratch_lost": lost}
    )


def _prices(world: World) -> dict[str, list[tuple[int, int]]]:
    """TYPE@zone: [[since_s, micro-euros per hour], ...], for GPUs and for every type that ran."""
    ran = {(run.zone, run.commercial_type) for run in world.truth()}
    return {
        f"{offer.commercial_type}@{zone}": world.market.history(offer)
        for zone, offers in OFFERS.items()
        for offer in offers.values()
        if offer.gpus or (zone, offer.commercial_type) in ran
    }


def list_faults(call: Call) -> Answer:
    """GET faults: those in force."""
    return answer({"faults": [asdict(fault) for fault in call.world.faults.listed]})


def add_fault(call: Call) -> Answer:
    """POST faults: one fault, by the names of `Fault`'s fields."""
    with _checked():
        kind = FaultKind(call.body.get("kind", ""))
        call.world.faults.add(Fault(**{**call.body, "kind": kind}))
    return list_faults(call)


def clear_faults(call: Call) -> Answer:
    """DELETE faults: all of them end."""
    call.world.faults.clear()
    return list_faults(call)


def change_price(call: Call) -> Answer:
    """POST prices {"commercial_type", "at_s", "rate_ucr_per_h", "zone"?}."""
    with _checked():
        change = PriceChange(**call.body)
    call.world.market.change_price(change)
    return answer(asdict(change))


def set_stock(call: Call) -> Answer:
    """POST stock {"zone", "family", "gpus"}: how many GPUs of a family a zone has."""
    zone, family = str(call.body.get("zone")), str(call.body.get("family"))
    call.world.market.stock_gpus[zone, family] = int(call.body.get("gpus", 0))
    return answer({"zone": zone, "family": family})


def guest_shutdown(call: Call) -> Answer:
    """POST guest-shutdown {"zone", "server_id"}: as if by `shutdown -h` in the guest."""
    zone, server_id = str(call.body.get("zone")), str(call.body.get("server_id"))
    server = call.world.guest_shutdown(zone, server_id)
    return answer({"state": server.state})


def script_action(call: Call) -> Answer:
    """POST script {"server_id", "action", "moves": [[after_s, state, detail], ...]}.

    The next such action on the server follows these moves; the first one happens at once.
    """
    with _checked():
        moves = tuple(Move(*move) for move in call.body.get("moves") or ())
    if not moves:
        raise _bad(400, "moves is a list of [after_s, state, detail]")
    call.world.script(str(call.body.get("server_id")), str(call.body.get("action")), moves)
    return answer({"moves": len(moves)})


def add_principal(call: Call) -> Answer:
    """POST principals {"kind", "name", "rules"?, "project_id"?, "member_ids"?, "owner"?}.

    An application or a user gets a key, which is in the answer; with rules, a policy too.
    """
    world, body = call.world, call.body
    made = world.iam.add(
        str(body.get("kind")),
        str(body.get("name")),
        world.now_s,
        is_owner=bool(body.get("owner")),
        members=tuple(body.get("member_ids") or ()),
    )
    body_out: dict[str, Any] = {"id": made.id}
    if made.kind != "group":
        project_id = str(body.get("project_id") or world.organization_id)
        key = world.iam.add_key(made.id, project_id, world.now_s)
        body_out |= {"access_key": key.access_key, "secret_key": key.secret_key}
    if body.get("rules"):
        policy = world.iam.add_policy(made.name, made.id, body["rules"], world.now_s)
        body_out["policy_id"] = policy.id
    return answer(body_out)


def edit_rules(call: Call) -> Answer:
    """POST rules {"policy_id", "rules"}: an edit in the console, which is never refused."""
    world, body = call.world, call.body
    world.iam.set_rules(str(body.get("policy_id")), body.get("rules") or (), world.now_s)
    return answer({"policy_id": body.get("policy_id")})


@contextmanager
def _checked() -> Iterator[None]:
    """Refuse a body whose fields do not fit with 400."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise _bad(400, str(error)) from error


def _bad(status: int, message: str) -> Refusal:
    return Refusal(status, "control", message)
