"""A sweep is Complete only with proof; else it is Partial or Unknown, and never raises."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import requests

from quotas.model.observation import Cause, Complete, Partial, Sweep, Unknown
from scheduler.clouds.transport import Limits

from .scripted_http import (
    ORGANIZATION,
    ZONE,
    Reply,
    harness,
    listing,
    paged,
    query,
    server_id,
    server_json,
)

REQUIRED = (
    "id",
    "name",
    "organization",
    "project",
    "commercial_type",
    "state",
    "creation_date",
    "modification_date",
    "zone",
)


def sweep_of(reply: Reply) -> Sweep:
    """The sweep of a zone whose every page is this reply."""
    return harness(reply).cloud.sweep(ZONE, 7)


def test_hundred_servers_take_one_request() -> None:
    """A full page whose count agrees needs no second request."""
    far = harness(paged([server_json(n) for n in range(100)]))
    sweep = far.cloud.sweep(ZONE, 7)
    assert isinstance(sweep, Complete) and len(sweep.servers) == 100
    assert len(far.adapter.asked) == 1
    url = str(far.adapter.asked[0].url)
    assert "per_page=100" in url and "order=creation_date_asc" in url
    assert f"organization={ORGANIZATION}" in url and "project" not in url


def test_every_page_is_read() -> None:
    """250 servers are read in three pages, and the two edges between them again."""
    far = harness(paged([server_json(n) for n in range(250)]))
    sweep = far.cloud.sweep(ZONE, 7)
    assert isinstance(sweep, Complete)
    assert [server.id for server in sweep.servers] == [server_id(n) for n in range(250)]
    asked = [(query(r, "page"), query(r, "per_page")) for r in far.adapter.asked]
    assert asked == [(1, 100), (2, 100), (3, 100), (100, 1), (200, 1)]


def test_empty_zone_is_complete_with_its_count() -> None:
    """An empty list with a count of 0 is a Complete sweep."""
    assert sweep_of(listing([])) == Complete(ZONE, 7, ())


@pytest.mark.parametrize("content", [b"{}", b"[]", b"null", b"", b"<html>", b'{"servers": {}}'])
def test_answer_without_servers_is_unknown(content: bytes) -> None:
    """A 200 that lacks the list is Unknown and malformed, never an empty zone."""
    sweep = sweep_of(Reply(200, content, {"X-Total-Count": "0"}))
    assert isinstance(sweep, Unknown) and sweep.cause is Cause.MALFORMED


@pytest.mark.parametrize("total", ["", "-1", "many", "1.0", "9" * 40])
def test_listing_without_count_is_unknown(total: str) -> None:
    """Without X-Total-Count no listing is known to be whole."""
    sweep = sweep_of(listing([server_json()], total))
    assert isinstance(sweep, Unknown) and sweep.cause is Cause.MALFORMED


@pytest.mark.parametrize("key", REQUIRED)
@pytest.mark.parametrize("value", ["absent", None, 7, [], {}])
def test_required_key_missing_or_of_another_type(key: str, value: object) -> None:
    """A server without a required key makes the page malformed: no default is invented."""
    raw = server_json(1, **{key: value})
    if value == "absent":
        del raw[key]
    sweep = sweep_of(listing([server_json(0), raw]))
    assert isinstance(sweep, Unknown) and sweep.cause is Cause.MALFORMED


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"organization": server_id(9)}, Cause.INCONSISTENT),
        ({"zone": "fr-par-1"}, Cause.INCONSISTENT),
        ({"project": "not a project"}, Cause.MALFORMED),
        ({"state": ""}, Cause.MALFORMED),
        ({"modification_date": "yesterday"}, Cause.MALFORMED),
        ({"modification_date": "2026-11-01T00:00:00"}, Cause.MALFORMED),
        ({"creation_date": "0001-01-01T00:00:00Z"}, Cause.MALFORMED),
        ({"allowed_actions": "poweroff"}, Cause.MALFORMED),
    ],
)
def test_implausible_server_is_refused(change: dict[str, object], cause: Cause) -> None:
    """A foreign, misplaced or senseless server makes the zone Unknown."""
    sweep = sweep_of(listing([server_json() | change]))
    assert isinstance(sweep, Unknown) and sweep.cause is cause


@pytest.mark.parametrize(
    "state", ["stopped in place", "stopped_in_place", "locked", "hibernating", "running"]
)
def test_unfamiliar_states_are_kept_and_billable(state: str) -> None:
    """Both spellings of standby, and unknown states, parse and are billable."""
    sweep = sweep_of(listing([server_json(state=state)]))
    assert isinstance(sweep, Complete)
    assert sweep.servers[0].state == state and sweep.servers[0].is_billable


def test_unknown_keys_and_odd_details_do_not_blind_us() -> None:
    """A field we do not use may be new or senseless: the server still parses."""
    sweep = sweep_of(listing([server_json(image=3, volumes="x", maintenances=None, new=[])]))
    assert isinstance(sweep, Complete)


@pytest.mark.parametrize("letter", ["\0", "\ud800", "\x1b", "\x9b", "\u202e"])
def test_a_name_is_read_without_characters_that_no_database_or_screen_takes(letter: str) -> None:
    """A startup chooses its servers' names, and no name may stop a cycle or control a screen."""
    sweep = sweep_of(listing([server_json(name=f"a{letter}b")]))
    assert isinstance(sweep, Complete)
    assert sweep.servers[0].name == "a\ufffdb"


def test_location_stands_in_for_zone() -> None:
    """If `zone` is absent, the location's zone is read."""
    raw = server_json(location={"zone_id": ZONE})
    del raw["zone"]
    assert isinstance(sweep_of(listing([raw])), Complete)


@pytest.mark.parametrize("total", [1, 3, 0])
def test_count_that_disagrees_is_partial(total: int) -> None:
    """Two servers read and another number announced: Partial, with what was read."""
    sweep = sweep_of(listing([server_json(0), server_json(1)], total))
    assert isinstance(sweep, Partial) and sweep.cause is Cause.INCONSISTENT
    assert len(sweep.servers) == 2


def test_empty_page_with_a_count_is_unknown() -> None:
    """An empty list beside a count of 5 says nothing about the zone."""
    sweep = sweep_of(listing([], 5))
    assert isinstance(sweep, Unknown) and sweep.cause is Cause.INCONSISTENT


def test_repeated_id_is_partial() -> None:
    """A server listed twice makes the sweep Partial, with each server once."""
    sweep = sweep_of(listing([server_json(0), server_json(0)]))
    assert isinstance(sweep, Partial) and sweep.cause is Cause.INCONSISTENT
    assert len(sweep.servers) == 1


def replying(replies: dict[int, Reply]) -> Callable[[requests.PreparedRequest], Reply]:
    """Answer by page number."""
    return lambda request: replies[query(request, "page")]


def test_failure_on_a_later_page_is_partial() -> None:
    """If page 2 keeps failing, the sweep is Partial with page 1 and the failure's cause."""
    first = listing([server_json(n) for n in range(100)], 150)
    sweep = harness(replying({1: first, 2: Reply(502, b"<html>")})).cloud.sweep(ZONE, 7)
    assert isinstance(sweep, Partial) and sweep.cause is Cause.FAULT
    assert len(sweep.servers) == 100


def test_count_that_moves_between_pages_is_partial() -> None:
    """A count that changes while pages are read makes the sweep Partial."""
    first = listing([server_json(n) for n in range(100)], 150)
    second = listing([server_json(n) for n in range(100, 149)], 149)
    sweep = harness(replying({1: first, 2: second})).cloud.sweep(ZONE, 7)
    assert isinstance(sweep, Partial) and sweep.cause is Cause.INCONSISTENT


def test_server_pushed_over_a_page_edge_is_noticed() -> None:
    """A deletion hidden by a creation between pages skips a server: never Complete."""
    servers = [server_json(n) for n in range(150)]
    pages = paged(servers)

    def answer(request: requests.PreparedRequest) -> Reply:
        if query(request, "page") == 2:
            del servers[3]
            servers.append(server_json(999))
        return pages(request)

    sweep = harness(answer).cloud.sweep(ZONE, 7)
    assert isinstance(sweep, Partial) and sweep.cause is Cause.INCONSISTENT
    assert server_id(100) not in {server.id for server in sweep.servers}


def test_pages_are_bounded() -> None:
    """A listing that never ends stops at the page limit."""

    def answer(request: requests.PreparedRequest) -> Reply:
        start = query(request, "page") * 100
        return listing([server_json(n) for n in range(start, start + 100)], 10**6)

    far = harness(answer, limits=Limits(pages=3))
    sweep = far.cloud.sweep(ZONE, 7)
    assert isinstance(sweep, Partial) and len(sweep.servers) == 300
    assert len(far.adapter.asked) == 3


def test_all_pages_share_one_deadline() -> None:
    """Pages that each take long end the sweep at the call's deadline, as Partial."""
    servers = paged([server_json(n) for n in range(500)])
    far = harness(servers, limits=Limits(call_s=60))

    def slow(request: requests.PreparedRequest) -> Reply:
        far.clock.now += 25
        return servers(request)

    far.adapter.reply_function = slow
    sweep = far.cloud.sweep(ZONE, 7)
    assert isinstance(sweep, Partial) and sweep.cause is Cause.DEADLINE
    assert len(far.adapter.asked) <= 3


@pytest.mark.parametrize(
    "zone", ["", "fr-par", "fr-par-10", "FR-PAR-1", "fr-par-1/../x", "fr-par-1\n"]
)
def test_what_is_no_zone_is_refused(zone: str) -> None:
    """Text that is not a zone never enters a path."""
    far = harness(Reply())
    for call in (lambda: far.cloud.sweep(zone, 7), lambda: far.cloud.offers(zone)):
        with pytest.raises(ValueError, match="is not a zone"):
            call()
    assert far.adapter.asked == []


def test_nested_and_huge_json_is_malformed() -> None:
    """Endless nesting and absurd numbers are Malformed, not a crash."""
    for content in (b"[" * 200_000, b'{"servers": 1e99999999999999999999}', b"9" * 10_000):
        sweep = sweep_of(Reply(200, content, {"X-Total-Count": "0"}))
        assert isinstance(sweep, Unknown) and sweep.cause is Cause.MALFORMED


def test_nan_does_not_crash_a_sweep() -> None:
    """NaN in place of text is Malformed."""
    raw = json.dumps({"servers": [server_json(name=float("nan"))]}).encode()
    sweep = sweep_of(Reply(200, raw, {"X-Total-Count": "1"}))
    assert isinstance(sweep, Unknown) and sweep.cause is Cause.MALFORMED
