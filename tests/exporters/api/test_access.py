"""Nobody reads what is not theirs: every route, two startups, and every wrong token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from fastapi.routing import APIRoute
from starlette.testclient import TestClient

from quotas.book.actions.tokens import revoke_token
from quotas.book.cycle.commit import apply_program
from quotas.model.tokens import fingerprint, id_of, write_token
from tests.builders import a_grant, a_program, a_startup

from .api_fixture import ApiFixture

PUBLIC = {("GET", "/v1/openapi.json"), ("GET", "/healthz")}


@dataclass(frozen=True)
class Call:
    """How a route is called well: by whom, and who lacks the scope."""

    path: str
    by: str = "acme"
    without_scope: str = "acme-request"
    method: str = "GET"
    body: object = None
    status: int = 200

    def ask(self, api_fixture: ApiFixture, who: str | None) -> Any:
        """The answer to this call with one of the tokens."""
        key = {} if self.method == "GET" else {"Idempotency-Key": f"{self.method} {self.path}"}
        return api_fixture.ask(self.path, who, self.method, json=self.body, headers=key)


ASK = {"pool": "h100", "gpus": 1, "duration": "1h"}
CALLS = {
    ("GET", "/v1/me"): Call("/v1/me"),
    ("GET", "/v1/credits"): Call("/v1/credits"),
    ("GET", "/v1/usage"): Call("/v1/usage"),
    ("GET", "/v1/servers"): Call("/v1/servers"),
    ("GET", "/v1/quota"): Call("/v1/quota"),
    ("GET", "/v1/charges"): Call("/v1/charges"),
    ("GET", "/v1/decisions"): Call("/v1/decisions"),
    ("GET", "/v1/notices"): Call("/v1/notices"),
    ("GET", "/v1/events"): Call("/v1/events"),
    ("GET", "/v1/requests"): Call("/v1/requests"),
    ("POST", "/v1/requests"): Call("/v1/requests", "acme", "acme-read", "POST", ASK, 202),
    ("DELETE", "/v1/requests/{number}"): Call(
        "/v1/requests/1", "acme", "acme-read", "DELETE", None, 202
    ),
    ("GET", "/v1/decisions/{number}/explanation"): Call("/v1/decisions/1/explanation"),
    ("GET", "/v1/statements"): Call("/v1/statements"),
    ("GET", "/v1/statements/{month}"): Call("/v1/statements/1970-01"),
    ("POST", "/v1/notices/{number}/acknowledge"): Call(
        "/v1/notices/1/acknowledge", "acme", "acme-read", "POST", None, 202
    ),
    ("POST", "/v1/notices/{number}/snooze"): Call(
        "/v1/notices/1/snooze", "acme", "acme-read", "POST", {"for": "1h", "reason": "r"}, 202
    ),
    ("POST", "/v1/advance"): Call("/v1/advance", "acme", "acme-read", "POST", None, 202),
    ("GET", "/v1/writes/{id}"): Call("/v1/writes/" + "0" * 32, status=404),
    ("GET", "/v1/admin/startups"): Call("/v1/admin/startups", "admin", "acme"),
    ("GET", "/v1/admin/startups/{name}/credits"): Call(
        "/v1/admin/startups/acme/credits", "audit", "birch"
    ),
    ("GET", "/v1/admin/startups/{name}/decisions"): Call(
        "/v1/admin/startups/acme/decisions", "admin", "acme"
    ),
    ("GET", "/v1/admin/startups/{name}/statements"): Call(
        "/v1/admin/startups/acme/statements", "audit", "acme-request"
    ),
    ("GET", "/v1/admin/actions"): Call("/v1/admin/actions", "audit", "admin"),
}
OWN = [key for key, call in CALLS.items() if call.by == "acme" and call.method == "GET"]
NAMES = [f"{method} {path}" for method, path in CALLS]


def served(client: TestClient) -> set[tuple[str, str]]:
    """Every route of the application, by method."""
    found: set[tuple[str, str]] = set()
    for path, methods in client.get("/v1/openapi.json").json()["paths"].items():
        found |= {(method.upper(), path) for method in methods}
    routes = [route for route in client.app.routes if isinstance(route, APIRoute)]  # type: ignore[attr-defined]  # a FastAPI
    return found | {(m, route.path) for route in routes for m in route.methods}


def test_every_route_is_in_the_table(reading: ApiFixture) -> None:
    """A new route fails here until it is tried with every wrong token."""
    assert served(reading.client) - PUBLIC == set(CALLS)


@pytest.mark.parametrize("call", CALLS.values(), ids=NAMES)
def test_a_right_token_is_served(reading: ApiFixture, call: Call) -> None:
    """The table's own call is good, so that each refusal beside it has one cause."""
    answer = call.ask(reading, call.by)
    assert answer.status_code == call.status, answer.text


@pytest.mark.parametrize("call", CALLS.values(), ids=NAMES)
@pytest.mark.parametrize(
    ("who", "kind", "says"),
    [
        (None, "token-missing", "Authorization: Bearer"),
        ("expired", "token-expired", "is expired: ask the operator"),
        ("admin-expired", "token-expired", "is expired: ask the operator"),
        ("revoked", "token-revoked", "is revoked: ask the operator"),
    ],
)
def test_no_token_and_ended_tokens_are_refused(
    reading: ApiFixture, call: Call, who: str | None, kind: str, says: str
) -> None:
    """401 with a sentence that says what to do, whatever the route."""
    answer = call.ask(reading, who)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == f"urn:cohortd:problem:{kind}"
    assert says in answer.json()["detail"]


@pytest.mark.parametrize("call", CALLS.values(), ids=NAMES)
def test_a_wrong_scope_is_refused(reading: ApiFixture, call: Call) -> None:
    """403 that names the scope."""
    answer = call.ask(reading, call.without_scope)
    assert answer.status_code == 403
    assert "--scope" in answer.json()["detail"]


NODE = {
    ("GET", "/v1/me"),
    ("GET", "/v1/servers"),
    ("GET", "/v1/notices"),
    ("POST", "/v1/notices/{number}/acknowledge"),
}


@pytest.mark.parametrize(("key", "call"), CALLS.items(), ids=NAMES)
def test_a_node_and_a_power_token_reach_nothing_else(
    reading: ApiFixture, key: tuple[str, str], call: Call
) -> None:
    """`node` reads servers and notices and acknowledges; `power` has no route; all else is 403."""
    node, power = call.ask(reading, "acme-node"), call.ask(reading, "acme-power")
    assert node.status_code == (call.status if key in NODE else 403)
    assert power.status_code == 403


@pytest.mark.parametrize(("method", "path"), OWN, ids=[path for _, path in OWN])
def test_a_startup_sees_its_own_rows_only(reading: ApiFixture, method: str, path: str) -> None:
    """What acme is shown never names birch, and the other way round."""
    assert "birch" not in reading.ask(path, "acme", method).text
    assert "acme" not in reading.ask(path, "birch", method).text


def test_a_number_of_another_startup_opens_nothing(reading: ApiFixture) -> None:
    """Decision 2 is birch's: acme hears that it has none of that number, birch reads it."""
    assert reading.ask("/v1/decisions/2/explanation").status_code == 404
    assert "birch uses 16 GPUs" in reading.ask("/v1/decisions/2/explanation", "birch").text


def test_who_audits_changes_nothing(reading: ApiFixture) -> None:
    """An audit token is refused by every write, and reads what an admin's may not."""
    for call in CALLS.values():
        if call.method != "GET":
            assert call.ask(reading, "audit").status_code == 403
    assert reading.ask("/v1/admin/actions", "audit").status_code == 200
    assert reading.ask("/v1/admin/actions", "admin").status_code == 403


@pytest.mark.parametrize("path", ["/v1/servers", "/v1/charges", "/v1/decisions", "/v1/notices"])
def test_each_startup_has_rows_to_see(reading: ApiFixture, path: str) -> None:
    """The isolation above is of something: each list holds exactly its owner's one row."""
    for name in ("acme", "birch"):
        items = reading.json(path, name)["items"]
        assert len(items) == 1 and name in str(items)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic YTpi",
        "Bearer cohortd_" + "a" * 58,
        "Bearer " + write_token(b"x" * 32)[:-1],
        "Bearer " + "a" * 5000,
        "bearer\tx",
    ],
)
def test_what_is_no_token_is_refused(reading: ApiFixture, header: str) -> None:
    """A header of another shape, or a token with a typing error, is recognized offline."""
    answer = reading.client.get("/v1/me", headers={"Authorization": header})
    assert answer.status_code == 401
    assert "typing error" in answer.json()["detail"]


def test_a_stranger_s_token_is_refused(reading: ApiFixture) -> None:
    """A well-formed token that nobody made here opens nothing."""
    header = {"Authorization": f"Bearer {write_token(b'y' * 32)}"}
    answer = reading.client.get("/v1/me", headers=header)
    assert answer.json()["type"] == "urn:cohortd:problem:token-unknown"


def test_a_revocation_holds_at_once(fresh_api: ApiFixture) -> None:
    """The request after `token revoke` is refused, and those of other tokens are not."""
    assert fresh_api.ask("/v1/me").status_code == 200
    token_hash = fingerprint(fresh_api.tokens["acme"])
    assert token_hash is not None
    revoke_token(fresh_api.book, id_of(token_hash), 7200)
    assert fresh_api.ask("/v1/me").status_code == 401
    assert fresh_api.ask("/v1/me", "acme-read").status_code == 200


def test_a_token_expires_to_the_second(fresh_api: ApiFixture) -> None:
    """Good until its last second, refused from its end on."""
    fresh_api.clock.move_to(10**10 - 1)
    assert fresh_api.ask("/v1/me").status_code == 200
    fresh_api.clock.move_to(10**10)
    assert fresh_api.ask("/v1/me").status_code == 401


def test_an_operator_finds_no_startup_that_is_not_there(reading: ApiFixture) -> None:
    """404 that says where the names are."""
    answer = reading.ask("/v1/admin/startups/nobody/credits", "admin")
    assert answer.status_code == 404
    assert "/v1/admin/startups" in answer.json()["detail"]


def test_an_operator_pages_through_the_startups(reading: ApiFixture) -> None:
    """The list by name, one at a time, shows each once and ends."""
    first = reading.json("/v1/admin/startups?limit=1", "admin")
    second = reading.json(f"/v1/admin/startups?limit=1&cursor={first['next']}", "admin")
    assert [each["name"] for each in first["items"] + second["items"]] == ["acme", "birch"]
    assert second["next"] is None


def test_a_startup_that_left_reads_its_statements_only(fresh_api: ApiFixture) -> None:
    """Every route of startups refuses the leaver's token, except those of the statements."""
    apply_program(fresh_api.book, a_program(a_startup("birch", grants=(a_grant(),))), 1, "tests")
    own = [call for call in CALLS.values() if call.by == "acme"]
    for call in own:
        answer = call.ask(fresh_api, "acme")
        if call.path.startswith("/v1/statements"):
            assert answer.status_code == 200, call.path
        else:
            assert answer.status_code == 403, call.path
            assert answer.json()["type"].endswith("left"), call.path
    assert len(own) > 10
