"""What a founder is shown and may ask: its own rows, once for each form, in both languages."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from jinja2 import Environment
from starlette.requests import Request

from exporters.portal.i18n import FRENCH, Translator, language
from quotas.book.actions.requests import read_requests
from quotas.book.cycle.commit import commit
from quotas.book.inbox import waiting_messages
from quotas.messages.levels import LEVELS
from quotas.state.notices import LIVE_NOTICES
from quotas.state.requests import LIVE_REQUESTS
from quotas.state.snapshot import Decision
from tests.builders import Z, a_notice, notice_facts, seen
from tests.exporters.api.api_fixture import NOW_S, ApiFixture, drain_of, run_of
from tests.quotas.book.book_builders import lease_of, result_of

from .portal_client import PortalClient, signed_in

PORTAL = Path(__file__).parents[3] / "exporters/portal"
ASK = "/portal/requests"
BABEL = Environment(extensions=["jinja2.ext.i18n"])
STATES = (
    LIVE_NOTICES | LIVE_REQUESTS | {"withdrawn", "closed", "executed", "cancelled", "restarted"}
)
GOOD = {"pool": "h100", "gpus": "1", "length": "2", "unit": "h", "reason": "run 4"}


def decide(at: ApiFixture) -> int:
    """What a cycle does with the inbox."""
    return drain_of(at.book, at.state)(at.clock.now_s())


def asked(portal_client: PortalClient, **changes: str) -> str:
    """The address of the answer to a request for GPUs."""
    answer = portal_client.post(ASK, {**portal_client.form(ASK), **GOOD, **changes})
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


@pytest.mark.parametrize(("who", "other"), [("acme", "birch"), ("birch", "acme")])
@pytest.mark.parametrize("path", ["/portal/", "/portal/now"])
def test_a_startup_sees_its_own(reading: ApiFixture, who: str, other: str, path: str) -> None:
    """Its server, its notice, its decision; and never a word of the other's."""
    text = signed_in(reading, who).page(path)
    assert f"train-{who}" in text
    assert other not in text
    if path == "/portal/":
        assert "will be powered off at" in text and f"{who} uses 16 GPUs" in text
        assert "the startup, by stopping servers; the operator, by its limit" in text


def test_the_page_agrees_with_the_api(reading: ApiFixture) -> None:
    """Credits to the cent, rounded down, and the instant of the same status."""
    text, credits = signed_in(reading).page(), reading.json("/v1/credits")
    assert credits["available"] == "0.99067"
    assert '<p class="figure">0.99 ' in text
    assert "1 Jan 1970, 02:00" in text and 'class="state open"' in text


def test_a_month_has_its_lines(reading: ApiFixture) -> None:
    """The statement is the startup's own, ties to the API's, and a strange month is not there."""
    for who, other in (("acme", "birch"), ("birch", "acme")):
        portal_client = signed_in(reading, who)
        assert 'href="/portal/statements/1970-01">January 1970</a>' in portal_client.page()
        text = portal_client.page("/portal/statements/1970-01")
        assert f"server-{who}" in text and other not in text
        assert "<dt>Opening</dt><dd>0.00</dd>" in text and "<dt>Closing</dt><dd>0.99</dd>" in text
    for month in ("1970-02", "1969-01", "1970-13", "x"):
        assert portal_client.ask(f"/portal/statements/{month}").status_code == 404


def test_a_countdown_has_its_instant(reading: ApiFixture) -> None:
    """In how long, when in the program's time, and a machine-readable instant."""
    text = signed_in(reading).page()
    assert "in 30 minutes" in text
    assert '<time datetime="1970-01-01T02:30:00Z">1 Jan 1970, 02:30 UTC</time>' in text


def test_gpus_are_asked_for_and_the_answer_shown(fresh_api: ApiFixture) -> None:
    """Asked; after the cycle done; the request is listed, and can be taken back."""
    portal_client = signed_in(fresh_api)
    place = asked(portal_client)
    waiting = portal_client.page(place)
    assert "decided in the next cycle" in waiting and 'http-equiv="refresh"' in waiting
    assert decide(fresh_api) == 1
    done = portal_client.page(place)
    assert "request 1 for 1 GPUs of h100 is open" in done and "refresh" not in done
    (request,) = read_requests(fresh_api.book, 10)
    assert (request.startup, request.duration_s, request.reason) == ("acme", 7200, "run 4")
    take_back = f"{ASK}/1/withdraw"
    answer = portal_client.post(take_back, portal_client.form(take_back))
    assert decide(fresh_api) == 1
    assert "request 1 is withdrawn" in portal_client.page(answer.headers["location"])


def test_a_number_of_no_row_is_not_there(fresh_api: ApiFixture) -> None:
    """404 where no row can have it, with more digits than Python reads too; else refused."""
    portal_client = signed_in(fresh_api)
    for digits in (5000, 19):
        for path in ("requests/{}/withdraw", "notices/{}/acknowledge", "notices/{}/snooze"):
            place = f"/portal/{path.format('9' * digits)}"
            assert portal_client.post(place, portal_client.form(ASK)).status_code == 404
    place = f"/portal/requests/{'9' * 18}/withdraw"
    answer = portal_client.post(place, portal_client.form(ASK))
    decide(fresh_api)
    assert "Refused" in portal_client.page(answer.headers["location"])


def test_a_double_click_is_one_request(fresh_api: ApiFixture) -> None:
    """The same form twice leads to the same answer, and one request."""
    portal_client = signed_in(fresh_api)
    form = {**portal_client.form(ASK), **GOOD}
    places = {portal_client.post(ASK, form).headers["location"] for _ in range(2)}
    assert len(places) == 1 and len(waiting_messages(fresh_api.state, 10)) == 1
    changed = portal_client.post(ASK, {**form, "gpus": "2"})
    assert changed.status_code == 422 and "something else in it" in changed.text
    assert asked(portal_client) not in places


def test_a_refusal_is_shown_with_its_reason(fresh_api: ApiFixture) -> None:
    """What the program does not allow comes back as its sentence."""
    portal_client = signed_in(fresh_api)
    place = asked(portal_client, pool="tpu")
    decide(fresh_api)
    assert "pool tpu is not in the program" in portal_client.page(place)


def test_a_notice_is_acknowledged_by_its_owner(fresh_api: ApiFixture) -> None:
    """The page says when it was read; another startup's attempt is refused."""
    path = "/portal/notices/{}/acknowledge"
    acme, birch = signed_in(fresh_api), signed_in(fresh_api, "birch")
    own = acme.post(path.format(1), acme.form(path.format(1))).headers["location"]
    theirs = birch.post(path.format(1), birch.form(path.format(2))).headers["location"]
    assert decide(fresh_api) == 2
    assert "notice 1 is acknowledged" in acme.page(own)
    assert "Refused" in birch.page(theirs)
    text = acme.page()
    assert "read 1 Jan 1970, 02:00" in text and path.format(1) not in text
    assert path.format(2) in birch.page()


def test_a_snooze_is_offered_where_a_deadline_may_move(fresh_api: ApiFixture) -> None:
    """Not for used-up credits; for a limit it moves by what was asked; senseless is refused."""
    notice = a_notice("s-credits", rule="credits", id=None, deadline_s=9000)
    result = result_of(sweeps=[seen(NOW_S)], confirmed={Z: NOW_S}, notices=[notice])
    commit(fresh_api.book, result, lease_of(fresh_api.book, now_s=NOW_S), NOW_S)
    portal_client = signed_in(fresh_api)
    path, text = "/portal/notices/1/snooze", portal_client.page()
    assert "/portal/notices/3/acknowledge" in text and "/portal/notices/3/snooze" not in text
    form = portal_client.form(path)
    for wrong in ({"length": "9h", "reason": "x"}, {"length": "1h", "reason": " "}, {}):
        assert portal_client.post(path, {**form, **wrong}).status_code == 422
    place = portal_client.post(path, {**form, "length": "1h", "reason": "epoch"}).headers[
        "location"
    ]
    assert decide(fresh_api) == 1
    assert "notice 1 is due 1970-01-01T03:30:00Z" in portal_client.page(place)


def test_another_s_write_and_request_are_not_there(fresh_api: ApiFixture) -> None:
    """birch finds nothing at acme's address, and cannot take its request back."""
    acme, birch = signed_in(fresh_api), signed_in(fresh_api, "birch")
    place = asked(acme)
    decide(fresh_api)
    assert birch.ask(place).status_code == 404
    form = birch.form(ASK)
    theirs = birch.post(f"{ASK}/1/withdraw", form).headers["location"]
    decide(fresh_api)
    assert "there is no request 1" in birch.page(theirs)


@pytest.mark.parametrize(
    "changes",
    [
        {"gpus": ""},
        {"gpus": "0"},
        {"gpus": "1.5"},
        {"gpus": "9" * 30},
        {"gpus": "9" * 5000},
        {"length": "0"},
        {"length": "-1"},
        {"length": "1000000"},
        {"unit": "years"},
        {"pool": ""},
        {"reason": "x" * 501},
    ],
)
def test_a_senseless_form_comes_back(reading: ApiFixture, changes: dict[str, str]) -> None:
    """422 with what was typed still in it, and nothing is kept."""
    portal_client = signed_in(reading)
    answer = portal_client.post(
        ASK, {**portal_client.form(ASK), **GOOD, "reason": "keep me", **changes}
    )
    assert answer.status_code == 422
    assert "Your request was not sent" in answer.text
    assert "reason" in changes or "keep me" in answer.text
    assert waiting_messages(reading.state, 10) == []


def test_a_token_that_may_only_read_is_shown_no_form(reading: ApiFixture) -> None:
    """And a form made up for it is refused."""
    portal_client = signed_in(reading, "acme-read")
    text = portal_client.page()
    assert f'action="{ASK}"' not in text and "may read and not ask" in text
    form = portal_client.form("/portal/sign-out")
    answer = portal_client.post(ASK, {**form, **GOOD, "key": "a" * 32})
    assert answer.status_code == 403 and waiting_messages(reading.state, 10) == []


def test_a_start_refused_for_quota_is_said_in_the_form(fresh_api: ApiFixture) -> None:
    """It is kept with the request; another word comes back as a form that makes no sense."""
    portal_client = signed_in(fresh_api)
    asked(portal_client, refused_for="quota")
    decide(fresh_api)
    (item,) = fresh_api.json("/v1/requests")["items"]
    assert item["refused_for"] == "quota"
    odd = portal_client.post(ASK, {**portal_client.form(ASK), **GOOD, "refused_for": "luck"})
    assert odd.status_code == 422


def test_hostile_names_are_text(fresh_api: ApiFixture) -> None:
    """A server name, a reason and a notice with markup in them are shown, not run."""
    bad = "<script>alert(1)</script>\"'&{{7*7}}"
    run = replace(run_of("acme"), server_name=bad)
    facts = {**notice_facts("limit"), "server": bad}
    result = result_of(
        sweeps=[seen(NOW_S)],
        confirmed={Z: NOW_S},
        runs=[run],
        decisions=[Decision("acme", "s", "limit", "announce", "c-bad", facts)],
        notices=[a_notice("s-bad", server_name=bad, id=None, deadline_s=9000)],
    )
    commit(fresh_api.book, result, lease_of(fresh_api.book, now_s=NOW_S), NOW_S)
    portal_client = signed_in(fresh_api)
    place = asked(portal_client, reason=bad)
    decide(fresh_api)
    portal_client.page(place)
    text = portal_client.page()
    assert text.count("&lt;script&gt;alert(1)") >= 5
    assert "<script>" not in text and "{{7*7}}" in text


def test_the_page_is_small(reading: ApiFixture) -> None:
    """Page, style and script together are below 150 kB."""
    portal_client = signed_in(reading)
    assets = [f"/portal/static/{name}" for name in ("portal.css", "htmx.min.js", "icon.svg")]
    assert sum(len(portal_client.ask(path).content) for path in ["/portal/", *assets]) < 150_000


def test_french_is_chosen_by_the_browser_or_by_the_link(fresh_api: ApiFixture) -> None:
    """Accept-Language first, a link over it, and the choice is kept; amounts follow."""
    portal_client = signed_in(fresh_api)
    for header in ("FR-ca", "fr-CH, en;q=0.5"):
        french = portal_client.page(headers={"Accept-Language": header})
        assert '<html lang="fr">' in french and "Crédits restants" in french and "0,99" in french
    assert "Credits left" in portal_client.page()
    assert "Crédits restants" in portal_client.page("/portal/?lang=fr")
    assert "Crédits restants" in portal_client.page()
    assert "Credits left" in portal_client.page("/portal/?lang=en")


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "en"),
        ("de", "en"),
        ("fr", "fr"),
        ("en;q=0.2, fr;q=0.9", "fr"),
        ("fr;q=0.1, en-US", "en"),
        ("fr;q=x", "fr"),
        ("FR-ca", "fr"),
        ("EN-gb, fr;q=0.5", "en"),
        (";;q=,,," * 99, "en"),
    ],
)
def test_the_language_that_is_preferred(header: str, code: str) -> None:
    """The best range that we speak, English where there is none, whatever is sent."""
    scope = {"type": "http", "query_string": b"", "headers": []}
    scope["headers"] = [(b"accept-language", header.encode())]
    assert language(Request(scope)) == code


def sentences() -> set[str]:
    """Every sentence that a template or a module says."""
    found = {text for level in LEVELS.values() for text in level}
    for path in PORTAL.glob("templates/*"):
        for _, _, message in BABEL.extract_translations(path.read_text()):
            first = message[0] if isinstance(message, tuple) else message
            found |= {first} if first else set()
    for path in PORTAL.glob("*.py"):
        found |= set(re.findall(r'translator\(\s*"([^"]+)"', path.read_text()))
    return found


def test_every_sentence_has_its_french() -> None:
    """Nothing is left in English on a French page, and each keeps its values."""
    said = sentences() | set(STATES)
    assert len(said) > 100 and said - FRENCH.keys() == set()
    for english, french in FRENCH.items():
        values = [sorted(re.findall(r"\{\w+\}", text)) for text in (english, french)]
        assert values[0] == values[1], english


@pytest.mark.parametrize(
    ("seconds", "english", "french"),
    [
        (0, "0 minutes", "0 minute"),
        (59, "0 minutes", "0 minute"),
        (3600, "1 hour", "1 heure"),
        (93_599, "1 day 1 hour", "1 jour 1 heure"),
        (86_400 + 60, "1 day", "1 jour"),
        (5_400, "1 hour 30 minutes", "1 heure 30 minutes"),
    ],
)
def test_durations_are_never_rounded_up(seconds: int, english: str, french: str) -> None:
    """Two units at most, and never more time than there is."""
    assert Translator("en").duration(seconds) == english
    assert Translator("fr").duration(seconds).replace("\u202f", " ").replace("\xa0", " ") == french


def test_amounts_are_rounded_down() -> None:
    """Never more than there is, in the language's own signs."""
    assert Translator("en").credits("1234567.899999") == "1,234,567.89"
    assert Translator("en").credits("-0.000001") == "-0.01"
    assert Translator("fr").credits("1234.50").replace("\u202f", " ") == "1 234,50"


def test_an_instant_names_both_times() -> None:
    """The program's zone with its name, then UTC; UTC alone where they are one."""
    assert Translator("en", "Europe/Paris").instant_with_utc(0) == (
        "1 Jan 1970, 01:00 Europe/Paris (1 Jan 1970, 00:00 UTC)"
    )
    assert Translator("fr").instant_with_utc(0) == "1 janv. 1970, 00:00 UTC"
