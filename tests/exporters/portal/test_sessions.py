"""Nobody signs in who may not, and no form works that is not the page's own."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from freezegun import freeze_time
from itsdangerous import URLSafeSerializer
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from exporters.api.access import RateLimits
from exporters.api.app import build_app
from exporters.portal.sessions import COOKIE, SESSION_MAX_AGE_S, Sessions, signing_key
from quotas.book import BookError
from quotas.book.actions.tokens import revoke_token
from quotas.book.inbox import FOLDER, Inbox, waiting_messages
from quotas.model.tokens import fingerprint, id_of, write_token
from scheduler.clock import SystemClock
from tests.exporters.api.api_fixture import NOW_S, PLENTY, ApiFixture, api_fixture

from .portal_client import ORIGIN, Page, PortalClient, signed_in

SIGN_IN = "/portal/sign-in"
READS = ["/portal/", "/portal/now", "/portal/writes/" + "0" * 32, "/portal/statements/1970-01"]
ASK = "/portal/requests"
POSTS = [
    *("/portal/sign-out", ASK, "/portal/requests/1/withdraw"),
    *("/portal/notices/1/acknowledge", "/portal/notices/1/snooze"),
]
GOOD = {"pool": "h100", "gpus": "1", "length": "2", "unit": "h", "reason": "run 4"}


def forged(portal_client: PortalClient, startup_token: str) -> str:
    """Another token's hash under the signature of the visitor's own cookie."""
    signature = portal_client.cookies[COOKIE].rpartition(".")[2]
    made = URLSafeSerializer(b"a key of ours").dumps([fingerprint(startup_token), "n", 10**10])
    return f"{str(made).rpartition('.')[0]}.{signature}"


def _parts(path: str) -> tuple[str, str, str]:
    return path.rpartition("/")


def test_every_route_is_in_the_lists(reading: ApiFixture) -> None:
    """A new route of the portal fails here until it is tried with every wrong session."""
    (portal,) = [r for r in reading.client.app.routes if isinstance(r, Mount)]  # type: ignore[attr-defined]  # a FastAPI
    found = {
        (method, "/portal" + route.path)
        for route in portal.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    names = {"0" * 32: "{id}", "1970-01": "{month}"}
    reads = {("GET", f"{head}/{names.get(last, last)}") for head, _, last in map(_parts, READS)}
    posts = {("POST", path.replace("/1/", "/{number:number}/")) for path in POSTS}
    assert found == reads | posts | {("GET", SIGN_IN), ("POST", SIGN_IN)}


@pytest.mark.parametrize("path", [*READS, *POSTS])
def test_without_a_session_there_is_nothing(reading: ApiFixture, path: str) -> None:
    """No cookie, a made-up one and a forged one all lead to the form, and show nothing."""
    method = "POST" if path in POSTS else "GET"
    acme = signed_in(reading)
    for cookie in ("", "x", acme.cookies[COOKIE][:-2], forged(acme, reading.tokens["birch"])):
        stranger = PortalClient(reading, {COOKIE: cookie} if cookie else {})
        answer = stranger.ask(path, method)
        assert (answer.status_code, answer.text) == (303, "")
        assert answer.headers["location"].startswith(SIGN_IN)
    assert acme.page()


@pytest.mark.parametrize(
    ("who", "why"),
    [
        ("expired", "has expired"),
        ("revoked", "was revoked"),
        ("admin", "may not read a startup"),
        ("acme-request", "may not read a startup"),
    ],
)
def test_a_token_that_may_not_read_opens_nothing(reading: ApiFixture, who: str, why: str) -> None:
    """The form comes back with the reason, and no session."""
    portal_client = PortalClient(reading)
    answer = portal_client.sign_in(who)
    assert answer.status_code in (401, 403) and why in answer.text
    assert portal_client.ask("/portal/").status_code == 303


@pytest.mark.parametrize("text", ["", "x", "cohortd_" + "a" * 58, write_token(b"y" * 32), "é" * 99])
def test_what_is_no_token_here_opens_nothing(reading: ApiFixture, text: str) -> None:
    """401 with the form, and the text is not shown again."""
    portal_client = PortalClient(reading)
    hidden = portal_client.form(SIGN_IN, SIGN_IN)
    answer = portal_client.post(SIGN_IN, {**hidden, "token": text})
    assert answer.status_code == 401 and "cohortd_a" not in answer.text


def test_the_token_is_nowhere_but_in_the_form(fresh_api: ApiFixture) -> None:
    """Neither the cookie nor the page holds it; the cookie is HttpOnly and Lax."""
    portal_client = PortalClient(fresh_api)
    answer = portal_client.sign_in("acme")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie and "Path=/portal" in cookie
    assert f"Max-Age={SESSION_MAX_AGE_S}" in cookie and "Secure" not in cookie
    assert fresh_api.tokens["acme"] not in cookie + portal_client.page()


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://testserver"}, {"X-Forwarded-Proto": "https"}]
)
def test_over_tls_the_cookie_is_secure(reading: ApiFixture, headers: dict[str, str]) -> None:
    """Whether the browser or the proxy before us says that it is TLS."""
    portal_client = PortalClient(reading)
    hidden = portal_client.form(SIGN_IN, SIGN_IN)
    data = {**hidden, "token": reading.tokens["acme"]}
    assert "; Secure" in portal_client.post(SIGN_IN, data, headers=headers).headers["set-cookie"]


def test_a_session_ends(fresh_api: ApiFixture) -> None:
    """Twelve hours later the same cookie opens nothing."""
    portal_client = signed_in(fresh_api)
    fresh_api.clock.move_to(NOW_S + SESSION_MAX_AGE_S - 1)
    assert portal_client.ask("/portal/").status_code == 200
    fresh_api.clock.move_to(NOW_S + SESSION_MAX_AGE_S)
    assert portal_client.ask("/portal/").status_code == 303


def test_the_machine_s_clock_ends_a_session(fresh_api: ApiFixture) -> None:
    """With the clock of `cohortd serve`, too, the cookie opens nothing twelve hours later."""
    fresh_api.client.get("/healthz")  # which publishes
    with freeze_time(datetime.fromtimestamp(NOW_S, UTC), real_asyncio=True) as wall:
        app = build_app(fresh_api.state, fresh_api.inbox, SystemClock().now_s, rates=PLENTY)
        portal_client = signed_in(replace(fresh_api, client=TestClient(app)))
        for later_s, status in ((SESSION_MAX_AGE_S - 1, 200), (1, 303)):
            wall.tick(later_s)
            assert portal_client.ask("/portal/").status_code == status


def test_a_revocation_holds_at_the_next_request(fresh_api: ApiFixture) -> None:
    """The page after `token revoke` is the form; a refresh in the page is sent there too."""
    portal_client, other = signed_in(fresh_api), signed_in(fresh_api, "acme-read")
    token_hash = fingerprint(fresh_api.tokens["acme"])
    assert token_hash is not None
    revoke_token(fresh_api.book, id_of(token_hash), NOW_S)
    refresh = portal_client.ask("/portal/now", headers={"HX-Request": "true"})
    assert refresh.headers["hx-redirect"] == "/portal/sign-in?reason=token-ended"
    assert portal_client.ask("/portal/").headers["location"] == "/portal/sign-in?reason=token-ended"
    assert "no longer in force" in portal_client.page("/portal/sign-in?reason=token-ended")
    assert other.ask("/portal/").status_code == 200


def test_signing_out_ends_it_on_the_server(fresh_api: ApiFixture) -> None:
    """The cookie is taken back, and a copy of it opens nothing, nor after a restart."""
    portal_client, other = signed_in(fresh_api), signed_in(fresh_api)
    copied = dict(portal_client.cookies)
    answer = portal_client.post("/portal/sign-out", portal_client.form("/portal/sign-out"))
    assert answer.headers["location"] == "/portal/sign-in?reason=signed-out"
    assert "Max-Age=0" in answer.headers["set-cookie"]
    restarted = Inbox(fresh_api.state)
    for inbox in (fresh_api.inbox, restarted):
        app = build_app(fresh_api.state, inbox, fresh_api.clock.now_s, rates=PLENTY)
        thief = PortalClient(replace(fresh_api, client=TestClient(app)))
        thief.cookies.update(copied)
        refused = thief.ask("/portal/")
        assert refused.headers["location"] == "/portal/sign-in?reason=session-ended"
    restarted.close()
    assert other.ask("/portal/").status_code == 200


@pytest.mark.parametrize("path", [*POSTS, SIGN_IN])
@pytest.mark.parametrize(
    ("changes", "headers"),
    [
        ({"form": ""}, {}),
        ({"form": "wrong"}, {}),
        ({"form": "é"}, {}),
        ({}, {"Origin": "https://elsewhere.example"}),
        ({}, {"Origin": "null"}),
        ({}, {"Origin": ""}),
        ({}, {"Content-Type": "text/plain"}),
    ],
)
def test_a_form_that_is_not_ours_does_nothing(
    reading: ApiFixture, path: str, changes: dict[str, str], headers: dict[str, str]
) -> None:
    """403, whether its token or its origin is wrong; nothing is kept, nobody signed out."""
    portal_client = signed_in(reading)
    data = {
        **portal_client.form("/portal/requests"),
        **GOOD,
        "token": reading.tokens["acme"],
        **changes,
    }
    answer = portal_client.post(path, data, headers={"Origin": ORIGIN, **headers})
    assert answer.status_code == 403
    assert "too old" in answer.text
    assert waiting_messages(reading.state, 10) == []
    assert portal_client.ask("/portal/").status_code == 200


def test_a_form_of_another_session_does_nothing(reading: ApiFixture) -> None:
    """What birch was given is not what acme was given."""
    theirs = signed_in(reading, "birch").form("/portal/requests")
    answer = signed_in(reading).post(ASK, {**theirs, **GOOD})
    assert answer.status_code == 403 and waiting_messages(reading.state, 10) == []


def test_guessing_is_slowed_down(tmp_path: Path) -> None:
    """After so many failures from one address the form says to wait."""
    with api_fixture(tmp_path / "state", RateLimits(failures=3)) as made:
        portal_client = PortalClient(made)
        hidden = portal_client.form(SIGN_IN, SIGN_IN)
        answers = [portal_client.post(SIGN_IN, {**hidden, "token": "x"}) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
        assert "wait a minute" in answers[-1].text


@pytest.mark.parametrize("path", ["/portal/", SIGN_IN, "/portal/nothing", "/portal/writes/x"])
def test_every_page_has_its_security_headers(reading: ApiFixture, path: str) -> None:
    """No inline script or style, no framing, nothing kept by the browser."""
    headers = signed_in(reading).ask(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy and "form-action 'self'" in policy
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"


def test_no_page_has_anything_inline_or_foreign(reading: ApiFixture) -> None:
    """What the policy forbids is not there: no style attribute, no other host."""
    portal_client = signed_in(reading)
    for text in (portal_client.page(), portal_client.page(SIGN_IN)):
        assert "style=" not in text and "<style" not in text and " onclick" not in text
        assert "http://" not in text and "https://" not in text


def test_headings_are_in_order(reading: ApiFixture) -> None:
    """One h1, and no level is skipped."""
    levels = Page(signed_in(reading).page()).headings
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_the_key_outlives_the_process_and_is_its_owner_s(tmp_path: Path) -> None:
    """The same key at the next start, readable by nobody else; a broken one is refused."""
    (tmp_path / FOLDER).mkdir()
    key = signing_key(tmp_path)
    assert signing_key(tmp_path) == key and len(key) == 32
    path = tmp_path / FOLDER / "session.key"
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(b"short")
    with pytest.raises(BookError, match="remove it"):
        signing_key(tmp_path)


def test_another_key_reads_no_session() -> None:
    """Two nonces differ, and what one key signed another refuses."""
    one, other = Sessions(b"a" * 32), Sessions(b"b" * 32)
    session = one.new_session("", NOW_S)
    assert session.nonce != one.new_session("", NOW_S).nonce
    assert one.form_token(session) != other.form_token(session)
