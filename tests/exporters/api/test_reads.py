"""What is answered: figures from one instant, pages without a gap, 304s, headers, rates."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from exporters.api.access import RateLimits
from exporters.api.middleware import SECURITY_HEADERS
from quotas.book.cycle.commit import commit
from quotas.book.cycle.lease import acquire
from quotas.state.snapshot import Decision
from tests.builders import notice_facts
from tests.quotas.book.book_builders import result_of

from .api_fixture import NOW_S, ApiFixture, api_fixture


def test_credits_add_up_at_one_instant(reading: ApiFixture) -> None:
    """available = posted - accrued - held - reserve, to the micro-credit, as of now."""
    own = reading.json("/v1/credits")
    amount = {name: Decimal(own[name]) for name in ("posted", "accrued", "held", "reserve")}
    assert amount["posted"] == Decimal("0.9964") and amount["accrued"] == Decimal("0.0036")
    parts = amount["accrued"] + amount["held"] + amount["reserve"]
    assert Decimal(own["available"]) == amount["posted"] - parts
    assert (own["as_of"], own["known_until"]) == ("1970-01-01T02:00:00Z",) * 2
    assert (own["burn_per_hour"], own["charged"], own["level"]) == ("0.0036", "0.0036", "open")
    assert own["expiring_next"] == {
        "grant": "g1",
        "credits": "0.9928",  # what is accrued is spent
        "expires": "1971-01-01T00:00:00Z",
    }
    ends_in_s = Decimal(own["available"]) / Decimal(own["burn_per_hour"]) * 3600
    assert own["runway_s"] == ends_in_s


def test_a_server_shows_its_countdown(reading: ApiFixture) -> None:
    """The notice's deadline, and the seconds left from the same instant."""
    (server,) = reading.json("/v1/servers")["items"]
    assert server["stop"]["deadline"] == "1970-01-01T02:30:00Z"
    assert server["stop"]["seconds_left"] == 9000 - NOW_S


def test_quota_is_the_division_the_daemon_makes(reading: ApiFixture) -> None:
    """Share, ceiling and headroom of each pool."""
    (pool,) = reading.json("/v1/quota")["items"]
    assert (pool["pool"], pool["usage"], pool["share"]) == ("h100", 1, 1)
    assert pool["headroom"] == pool["ceiling"] - pool["usage"]


def test_an_unchanged_answer_is_not_sent_again(reading: ApiFixture) -> None:
    """If-None-Match with the tag: 304 without a body; with another tag the whole answer."""
    for path in ("/v1/credits", "/v1/notices", "/v1/me"):
        tag = reading.ask(path).headers["etag"]
        for header in (tag, f'"other", W/{tag}', "*"):
            answer = reading.ask(path, headers={"If-None-Match": header})
            assert (answer.status_code, answer.content) == (304, b"")
        assert reading.ask(path, headers={"If-None-Match": '"other"'}).status_code == 200


def decide(at: ApiFixture, count: int) -> None:
    """So many more decisions about each startup, a second apart."""
    lease = acquire(at.book, "a", NOW_S, 180)
    assert lease is not None
    made = [
        Decision(name, "", "limit", "announce", f"{name}{n}", notice_facts("limit", name))
        for n in range(count)
        for name in ("acme", "birch")
    ]
    none: Any = []
    commit(at.book, result_of(sweeps=none, runs=none, transfers=none, decisions=made), lease, NOW_S)


def test_pages_show_each_row_once(fresh_api: ApiFixture) -> None:
    """Following `next` shows all of them, newest first, and ends."""
    decide(fresh_api, 7)
    ids: list[int] = []
    cursor = ""
    while True:
        page = fresh_api.json(f"/v1/decisions?limit=3{cursor}")
        ids += [each["id"] for each in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert ids == sorted(set(ids), reverse=True) and len(ids) == 8


def test_a_feed_skips_nothing_and_repeats_nothing(fresh_api: ApiFixture) -> None:
    """Following `next` from the beginning shows each decision and notice once, then news only."""
    decide(fresh_api, 5)
    seen: list[tuple[str, int]] = []
    cursor = "0-0"
    while items := (page := fresh_api.json(f"/v1/events?limit=2&cursor={cursor}"))["items"]:
        seen += [(each["kind"], each[each["kind"]]["id"]) for each in items]
        cursor = page["next"]
    assert len(seen) == len(set(seen)) == 7
    decide(fresh_api, 1)
    (news,) = fresh_api.json(f"/v1/events?cursor={cursor}&wait=5")["items"]
    assert news["decision"]["reason"].startswith("acme uses 16 GPUs in h100")


def test_a_long_poll_without_news_ends_empty(fresh_api: ApiFixture) -> None:
    """After the wait, the answer has no events and repeats the cursor."""
    page = fresh_api.json("/v1/events")
    assert fresh_api.json(f"/v1/events?cursor={page['next']}&wait=1") == {**page, "items": []}


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=201", "limit=x", "cursor=-1", "cursor=abc", "cursor=" + "9" * 19, "limt=5"],
)
def test_a_wrong_parameter_is_refused(reading: ApiFixture, query: str) -> None:
    """422 that names it, a misspelt one too."""
    answer = reading.ask(f"/v1/decisions?{query}")
    assert answer.status_code == 422
    assert f"query.{query.split('=')[0]}" in answer.json()["detail"]


def test_a_parameter_where_there_is_none_is_refused(reading: ApiFixture) -> None:
    """/v1/credits takes none, and says so."""
    answer = reading.ask("/v1/credits?startup=birch")
    assert answer.status_code == 422 and "query.startup" in answer.json()["detail"]


def test_every_answer_carries_the_security_headers(reading: ApiFixture) -> None:
    """Good answers, refusals and unknown addresses alike."""
    for path, who in (
        ("/v1/me", "acme"),
        ("/v1/me", None),
        ("/nothing", "acme"),
        ("/healthz", None),
    ):
        headers = reading.ask(path, who).headers
        assert {name.decode(): headers[name.decode()] for name, _ in SECURITY_HEADERS} == {
            name.decode(): value.decode() for name, value in SECURITY_HEADERS
        }


@pytest.mark.parametrize("path", ["/nothing", "/v1/", "/v1//credits", "/v1/credits/", "/docs"])
def test_an_unknown_address_is_a_problem_document(reading: ApiFixture, path: str) -> None:
    """404 that says where the addresses are listed."""
    answer = reading.ask(path)
    assert answer.status_code == 404 and "/v1/openapi.json" in answer.json()["detail"]


def test_a_token_has_its_rate_and_no_other_pays_for_it(tmp_path: Path) -> None:
    """429 with Retry-After once a token asked too often; the others are served."""
    with api_fixture(tmp_path, RateLimits(per_token=3, writes=3, failures=100)) as made:
        statuses = [made.ask("/v1/me").status_code for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
        assert made.ask("/v1/me").headers["retry-after"] == "60"
        assert made.ask("/v1/me", "birch").status_code == 200


def test_guessing_tokens_is_slowed(tmp_path: Path) -> None:
    """An address that fails too often must wait, whatever it sends."""
    with api_fixture(tmp_path, RateLimits(failures=2)) as made:
        statuses = [made.ask("/v1/me", None).status_code for _ in range(4)]
    assert statuses == [401, 401, 429, 429]


def test_the_fuzzer_finds_no_fault(tmp_path: Path) -> None:
    """Whatever the OpenAPI document allows, and what it does not: never a 5xx."""
    with api_fixture(tmp_path) as made:
        schema = schemathesis.openapi.from_dict(made.client.get("/v1/openapi.json").json())
        tried: set[int] = set()
        for operation in schema.get_all_operations():
            fuzz(operation.ok(), made, tried)
    assert {200, 202, 422} <= tried


def fuzz(operation: Any, at: ApiFixture, tried: set[int]) -> None:
    """Generated requests to one operation, good and bad ones."""

    @given(
        case=st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in GenerationMode))
    )
    @settings(max_examples=20, derandomize=True, deadline=None, database=None)
    def ask(case: Any) -> None:
        """One of them: the token is right, everything else as it comes."""
        sent = case.as_transport_kwargs(base_url="http://testserver")
        path = sent.pop("url").removeprefix("http://testserver")
        headers = {k: v for k, v in dict(sent["headers"]).items() if k == "Idempotency-Key"}
        query = {k: v for k, v in (sent.get("params") or {}).items() if k != "wait"}
        who = "admin" if "/admin/" in path else "acme"
        answer = at.ask(
            path, who, case.method, headers=headers, params=query, json=sent.get("json")
        )
        tried.add(answer.status_code)
        assert answer.status_code < 500, f"{case.method} {path}: {answer.text}"

    ask()
