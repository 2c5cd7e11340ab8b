"""Instance v1, servers: list, get, create, patch, delete, act."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from simulator.api import render
from simulator.api.requests import Answer, Call, answer, instance_page
from simulator.world.faults import FaultKind
from simulator.world.iam.permission_sets import required_permission
from simulator.world.lifecycle import allowed_actions
from simulator.world.model import Server, invalid

_STATES = ("running", "stopped", "stopping", "starting", "locked", "stopped_in_place")
_ORDERS: dict[str, Callable[[Server], tuple[int, int]]] = {
    "creation_date": lambda server: (server.created_s, server.serial),
    "modification_date": lambda server: (server.modified_s, server.serial),
}
_INDEXED = {"page", "per_page", "order", "project"}
"""Parameters of a listing that the world's index answers, without a look at every server."""
_RESOURCE = "compute_servers"


def list_servers(call: Call) -> Answer:
    """GET servers: a page of those that the caller may see and the filters match."""
    order, _, direction = call.query.get("order", "creation_date_desc").rpartition("_")
    if order not in _ORDERS or direction not in ("asc", "desc"):
        raise invalid("order", f"{call.query.get('order')} is not an order")
    state = call.query.get("state")
    if state is not None and state not in _STATES:
        # The API accepts no spaces here, although it answers with them.
        raise invalid("state", "state does not respect constraint, not a valid value")
    world, is_newest_first = call.world, direction == "desc"
    part: Sequence[Server]
    ids = _indexed_ids(call) if order == "creation_date" else None
    if ids is None:
        chosen = sorted(_matching(call), key=_ORDERS[order], reverse=is_newest_first)
        part, headers = instance_page(call, "servers", chosen)
    else:
        positions = range(len(ids))[:: -1 if is_newest_first else 1]
        places, headers = instance_page(call, "servers", positions)
        part = [world.server(call.zone, ids[place]) for place in places]
    if world.faults.listed:
        part, headers = _with_faults(call, part, headers)
    listed = b", ".join(render.server_json(server, world.organization_id) for server in part)
    return Answer(b'{"servers": [' + listed + b"]}", headers=headers)


def _indexed_ids(call: Call) -> Sequence[str] | None:
    """The ids that the world's index lists for a query, oldest first.

    None if every server must be looked at: for a filter, stale reads, or a caller that may see
    several projects of the zone but not all of them.
    """
    world, zone = call.world, call.zone
    if world.faults.listed or call.query.keys() - _INDEXED:
        return None
    present = [each.id for each in world.projects if world.server_ids(zone, each.id)]
    wanted = [each for each in present if call.query.get("project") in (None, each)]
    visible = [each for each in wanted if call.caller.may("server:read", each)]
    if len(visible) > 1:
        return world.server_ids(zone) if visible == present else None
    return world.server_ids(zone, visible[0]) if visible else ()


def _matching(call: Call) -> list[Server]:
    """The servers that the caller may see and that match every filter, as they are shown."""
    shown = [call.world.shown(server) for server in call.world.servers(call.zone)]
    visible = [each for each in shown if call.caller.may("server:read", each.project_id)]
    return [server for server in visible if _matches(call, server)]


def _matches(call: Call, server: Server) -> bool:
    """Whether the server matches every filter of the query."""
    query = call.query
    state = query.get("state")
    return (
        query.get("organization") in (None, call.world.organization_id)
        and query.get("project") in (None, server.project_id)
        and query.get("name", "") in server.name
        and query.get("commercial_type") in (None, server.commercial_type)
        and state in (None, server.state, server.state.replace(" ", "_"))
        and ("tags" not in query or set(_list_parameter(call, "tags")) <= set(server.tags))
        and ("servers" not in query or server.id in _list_parameter(call, "servers"))
    )


def _list_parameter(call: Call, name: str) -> list[str]:
    return [word for word in call.query.get(name, "").split(",") if word]


def _with_faults(
    call: Call, part: Sequence[Server], headers: dict[str, str]
) -> tuple[Sequence[Server], dict[str, str]]:
    """The page as the faults in force distort it."""
    if part and call.take_fault(FaultKind.PARTIAL_PAGE, "servers"):
        part = part[: len(part) // 2]
    if part and call.take_fault(FaultKind.DUPLICATE_SERVER, "servers"):
        part = [*part, part[0]]
    if part and call.take_fault(FaultKind.UNKNOWN_STATE, "servers"):
        part = [replace(part[0], state="hibernated", state_detail="hibernated"), *part[1:]]
    if call.take_fault(FaultKind.COUNT_MISMATCH, "servers"):
        headers = headers | {"X-Total-Count": str(int(headers["X-Total-Count"]) + 1)}
    return part, headers


def get_server(call: Call) -> Answer:
    """GET one server."""
    server = call.world.shown(_owned(call, "read"))
    if call.world.faults.listed and call.take_fault(FaultKind.UNKNOWN_STATE, "servers"):
        server = replace(server, state="hibernated", state_detail="hibernated")
    return _one(call, server)


def create_server(call: Call) -> Answer:
    """POST servers: 201 and its location."""
    name, commercial_type = call.body.get("name"), call.body.get("commercial_type")
    if not isinstance(commercial_type, str):
        raise invalid("commercial_type", "commercial_type is required")
    project_id = str(call.body.get("project") or call.caller.default_project_id)
    call.caller.check("server:create", project_id, _RESOURCE, "create")
    server = call.world.create_server(
        call.zone, project_id, commercial_type, str(name or "srv"), call.body.get("tags") or ()
    )
    made = _one(call, server)
    place = f"https://api.scaleway.com/instance/v1/zones/{call.zone}/servers/{server.id}"
    return replace(made, status=201, headers={"Location": place})


def patch_server(call: Call) -> Answer:
    """PATCH one server."""
    server = _owned(call, "write")
    return _one(call, call.world.patch_server(call.zone, server.id, call.body))


def delete_server(call: Call) -> Answer:
    """DELETE one server: 204."""
    server = _owned(call, "delete")
    call.world.delete_server(call.zone, server.id)
    return Answer(b"", 204)


def list_actions(call: Call) -> Answer:
    """GET the actions that a server allows."""
    server = call.world.shown(_owned(call, "read"))
    return answer({"actions": list(allowed_actions(server.state, server.state_detail))})


def act(call: Call) -> Answer:
    """POST an action: 202 and a task, which never progresses."""
    action = str(call.body.get("action", ""))
    server = _owned(call, "write", required_permission(action))
    call.world.act(call.zone, server.id, action)
    return answer(render.task(call.zone, server.id, call.world.now_s), 202)


def _owned(call: Call, action: str, permission: str = "") -> Server:
    """The server in the path, if the caller has this permission on it."""
    server = call.world.server(call.zone, call.path["server_id"])
    call.caller.check(permission or f"server:{action}", server.project_id, _RESOURCE, action)
    return server


def _one(call: Call, server: Server) -> Answer:
    return Answer(b'{"server": ' + render.server_json(server, call.world.organization_id) + b"}")
