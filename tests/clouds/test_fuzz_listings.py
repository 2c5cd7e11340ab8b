"""Listings with false pages: the adapter reads only what was sent, and misses nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quotas.iam.policies import Rule
from quotas.model.observation import Complete, Partial, Unknown
from scheduler.clouds import permissions, scaleway
from scheduler.clouds.base import CloudError

from .fake_listing import PER_PAGE, Corruption, FakeListing, ListChange, Row, change
from .recordings import ABSENT, paths, read
from .scripted_http import ORGANIZATION, ZONE, Reply, harness, server_id, server_json
from .test_permissions import iam

FUZZ = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
ODDITIES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 2**70, "", "x", "running"),
    *([], {}, [None], ["x"], {"id": "x"}),
)
ODD = st.sampled_from(ODDITIES)
COUNTS = st.sampled_from([None, "", "x", "-1", "1.0", "\u0663", "+3", "99", "1e1", "999999999999"])
IDS = ODD | st.just(server_id(1))
VERBS = ("drop", "rename", "retype", "double")


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three things make a page."""
    for name in ("SERVERS_PER_PAGE", "OFFERS_PER_PAGE", "PROJECTS_PER_PAGE"):
        monkeypatch.setattr(scaleway, name, PER_PAGE)
    monkeypatch.setattr(permissions, "PER_PAGE", PER_PAGE)


def made(kind: str, number: int) -> Row:
    """The n-th thing of a kind, as the API shows it."""
    named: Row = {"id": server_id(number), "name": f"n{number}", "organization_id": ORGANIZATION}
    held = {"no_principal": True} if number % 3 == 0 else {"application_id": server_id(90 + number)}
    rows: dict[str, Row] = {
        "servers": dict(server_json(number, state=("running", "stopped", "locked")[number % 3])),
        "offers": {"_name": f"T{number}", "gpu": number % 3, "hourly_price": 1.5, "gpu_info": None},
        "projects": named,
        "policies": {**named, **held, "editable": True, "managed": False, "tags": ["t"]},
        "groups": {**named, "user_ids": [server_id(70)], "application_ids": [server_id(71)]},
        "users": {**named, "email": f"{number}@x.example", "type": "member"},
        "applications": named,
        "rules": {
            "id": server_id(number),
            "permission_set_names": [f"Set{number}"],
            "project_ids": [server_id(5)],
            "condition": "",
        },
    }
    return rows[kind]


FOLDERS = {
    "projects": "account",
    "policies": "iam/policies",
    "groups": "iam/groups",
    "users": "iam/users",
    "applications": "iam/applications",
    "rules": "iam/rules",
}


def recorded(kind: str) -> list[Row]:
    """Recorded rows of one organization, each id once; none where the recordings are absent."""
    found: dict[str, Row] = {}
    for path in paths(FOLDERS[kind]) if kind in FOLDERS else ():
        body = read(path).body if path != ABSENT else None
        for row in body.get(kind, ()) if isinstance(body, dict) else ():
            found[row["id"]] = {
                **row,
                **({"organization_id": ORGANIZATION} if kind != "rules" else {}),
            }
    return list(found.values())[:7]


@st.composite
def far_ends(draw: st.DrawFn, kind: str) -> FakeListing:
    """A listing of up to nine things, made or recorded, with up to three lies or one move."""
    rows = [made(kind, n) for n in range(draw(st.integers(0, 9)))]
    old = recorded(kind)
    if old and draw(st.booleans()):
        rows = old
    if draw(st.integers(0, 3)) == 0:
        return FakeListing(
            kind,
            rows,
            list_change=ListChange(
                draw(st.integers(0, 6)), draw(st.integers(0, 8)), made(kind, 50)
            ),
        )
    corruptions = []
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, 3))
        verb = draw(st.sampled_from([*VERBS, *VERBS, "page", "cut", "count", "status"]))
        value: Any = draw(ODD)
        if verb == "page":
            value = draw(st.integers(1, 3))
        elif verb == "cut":
            value = draw(st.floats(0, 0.99))
        elif verb == "count":
            value = draw(COUNTS)
        elif verb == "status":
            value = draw(st.sampled_from([201, 202, 204, 206, 301, 400, 404, 500]))
        # Mostly a key of a row, or inside it: that is where something is believed.
        where = draw(st.lists(st.integers(0, 12), max_size=3))
        where = [0, draw(st.integers(0, 2)), *where] if draw(st.integers(0, 3)) else where
        corruptions.append(Corruption(at, verb, tuple(where), value))
    return FakeListing(kind, rows, corruptions)


def names(rows: Any, kind: str) -> set[str]:
    """The key that distinguishes the things of a kind."""
    return {row["_name" if kind == "offers" else "id"] for row in rows}


def is_whole(found: set[str], far: FakeListing) -> bool:
    """Whether a whole answer may show these: all there were before a move, or after it.

    Offers and projects are not read twice at the edges of their pages, since one that is
    missed is asked for again and nothing follows from it: there as many as there are.
    """
    lists = [names(far.now(number), far.kind) for number in (-1, 10**6)]
    if far.kind in {"offers", "projects"}:
        return found <= lists[0] | lists[1] and len(found) in map(len, lists)
    return found in lists


def judge_sweep(far: FakeListing) -> None:
    """A sweep is Complete only if the listing is whole, and no sweep invents a server."""
    sweep = harness(far).cloud.sweep(ZONE, 7)
    assert isinstance(sweep, Complete | Partial | Unknown)
    if isinstance(sweep, Complete):
        assert is_whole({server.id for server in sweep.servers}, far)
    for server in () if isinstance(sweep, Unknown) else sweep.servers:
        said = [row for row in far.said if row.get("id") == server.id]
        assert (server.state, server.project_id, server.commercial_type) in [
            (row.get("state"), row.get("project"), row.get("commercial_type")) for row in said
        ]


@FUZZ
@given(far_ends("servers"))
def test_a_complete_sweep_is_a_whole_one(far: FakeListing) -> None:
    """A Complete sweep has every server in a state that was sent; others are Partial or Unknown."""
    judge_sweep(far)


@FUZZ
@given(far_ends("offers"))
def test_a_catalogue_is_whole_and_invents_nothing(far: FakeListing) -> None:
    """Every type has a rate above zero or none, and no GPU count that was not sent."""
    try:
        offers = harness(far).cloud.offers(ZONE)
    except CloudError as refused:
        assert str(refused)
        return
    # A type under another name is another type: only Scaleway knows its names.
    assert is_whole({offer.commercial_type.rstrip("_") for offer in offers}, far)
    assert all(offer.rate_ucr_per_h is None or offer.rate_ucr_per_h > 0 for offer in offers)
    assert {offer.gpus for offer in offers} <= {row.get("gpu") or 0 for row in far.said}


@FUZZ
@given(far_ends("projects"))
def test_projects_are_whole(far: FakeListing) -> None:
    """Every project, or a typed error."""
    try:
        found = harness(far).cloud.projects()
    except CloudError:
        return
    assert is_whole({project.id for project in found}, far)


def read_policies(far: FakeListing) -> Iterator[Row]:
    """Policies as rows with their holders. Their rules are another listing, which is empty here."""
    empty = FakeListing("rules", ())

    def answer(request: Any) -> Any:
        return empty(request) if "/rules" in request.url else far(request)

    for policy in iam(answer).policies():
        holder = {f"{policy.holder_kind}_id": policy.holder_id} if policy.holder_kind else {}
        yield {"id": policy.id, **(holder or {"no_principal": True})}


def read_rules(far: FakeListing) -> Iterator[Row]:
    """Rules as rows, without the rules that cohortd cannot write back."""
    for rule in iam(far).rules(server_id(1)):
        yield {"permission_set_names": list(rule.sets), "condition": rule.condition}


def principals(kind: str) -> Callable[[FakeListing], Iterator[Row]]:
    """Applications, users or groups as rows, with their members."""

    def read_all(far: FakeListing) -> Iterator[Row]:
        for each in iam(far).principals(kind):
            yield {"id": each.id, **({"members": each.members} if kind == "group" else {})}

    return read_all


READERS: dict[str, Callable[[FakeListing], Iterator[Row]]] = {
    "policies": read_policies,
    "rules": read_rules,
    "groups": principals("group"),
    "users": principals("user"),
    "applications": principals("application"),
}


def agrees(row: Row, said: Row) -> bool:
    """Whether a row that was read is a row that was sent."""
    expected = dict(said)
    if "members" in row:
        lists = [expected.get("user_ids", 0), expected.get("application_ids", 0)]
        # A list that is null is an empty one; one that is not there is not known.
        both = all(each is None or isinstance(each, list) for each in lists)
        expected["members"] = tuple(m for each in lists for m in each or ()) if both else None
    if "permission_set_names" in row:
        sets = expected.get("permission_set_names")
        expected["permission_set_names"] = sorted(set(sets)) if isinstance(sets, list) else sets
    return all(expected.get(key) == value for key, value in row.items())


def judge_iam(far: FakeListing) -> None:
    """A listing is whole, and each row was sent; otherwise it is a typed error."""
    try:
        found = list(READERS[far.kind](far))
    except CloudError as refused:
        assert str(refused)
        return
    if far.kind != "rules":
        assert is_whole({row["id"] for row in found}, far)
    for row in found:
        assert any(agrees(row, said) for said in far.said)


@pytest.mark.parametrize("kind", READERS)
@FUZZ
@given(data=st.data())
def test_what_iam_lists_is_whole_and_was_said(kind: str, data: st.DataObject) -> None:
    """Every policy, rule, group, user or application, with the holder and members that it has."""
    judge_iam(data.draw(far_ends(kind)))


@pytest.mark.parametrize("kind", ["servers", *READERS])
def test_no_key_of_a_row_is_filled_in(kind: str) -> None:
    """Each key in turn missing, misnamed or of another type: refused, or not used."""
    judge = judge_sweep if kind == "servers" else judge_iam
    judge(FakeListing(kind, [made(kind, n) for n in range(4)]))
    for place in range(len(made(kind, 1))):
        where = (0, 1, place)
        for verb, value in (("drop", 0), ("rename", 0), *(("retype", odd) for odd in ODDITIES)):
            judge(
                FakeListing(
                    kind, [made(kind, n) for n in range(4)], [Corruption(0, verb, where, value)]
                )
            )


@FUZZ
@given(held=st.dictionaries(st.sampled_from(["user_id", "application_id"]), IDS))
def test_whose_key_it_is_is_said_or_not_known(held: Row) -> None:
    """The id of a user or an application as it was sent, or a typed error."""
    reply = Reply(200, json.dumps(held).encode())
    try:
        assert iam(lambda request: reply).key_holder() in held.values()
    except CloudError as refused:
        assert str(refused)


@FUZZ
@given(
    place=st.lists(st.integers(0, 6), min_size=1, max_size=4),
    verb=st.sampled_from(VERBS),
    value=ODD,
)
def test_rules_that_were_set_are_those_that_come_back(
    place: list[int], verb: str, value: object
) -> None:
    """An answer that shows other rules than the requested ones is never a success."""
    wanted = [Rule(("A", "B"), (server_id(5),)), Rule(("C",), (server_id(6),), "", "if")]
    rows = [
        {
            "id": server_id(n),
            "permission_set_names": list(rule.sets),
            "project_ids": list(rule.project_ids),
            "condition": rule.condition,
        }
        for n, rule in enumerate(wanted)
    ]
    body: Row = {"rules": rows}
    change(body, Corruption(0, verb, tuple(place), value))
    sent = [row for row in _rows(body) if set(row) >= {"permission_set_names", "condition"}]
    reply = Reply(200, json.dumps(body).encode())
    try:
        iam(lambda request: reply).set_rules(server_id(9), wanted)
    except CloudError as refused:
        assert str(refused)
        return
    shown = {
        (*sorted({*r["permission_set_names"]}), r["condition"], *r["project_ids"]) for r in sent
    }
    assert shown == {(*rule.sets, rule.condition, *rule.project_ids) for rule in wanted}


def _rows(body: Row) -> list[Row]:
    rows = body.get("rules")
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
