"""What a startup answers to a notice over the API: read, or later; decided by the next cycle."""

from __future__ import annotations

from typing import Any

import pytest

from .api_fixture import NOW_S, ApiFixture
from .test_writes import _crash, decide


def answer(
    at: ApiFixture, path: str, who: str = "acme", key: str = "k", body: object = None
) -> Any:
    """The write once it was decided."""
    sent = at.ask(f"/v1/notices/{path}", who, "POST", json=body, headers={"Idempotency-Key": key})
    assert sent.status_code == 202, sent.text
    decide(at)
    return at.json(sent.headers["location"], who)


LATER = {"for": "30m", "reason": "the epoch ends at two"}


def notice(at: ApiFixture, who: str = "acme") -> Any:
    """Its one notice."""
    return at.json("/v1/notices", who)["items"][0]


def test_a_notice_is_acknowledged(fresh_api: ApiFixture) -> None:
    """With the instant of the cycle; a second time changes nothing; the other's stays open."""
    assert notice(fresh_api)["acknowledged"] is None
    done = answer(fresh_api, "1/acknowledge")
    assert (done["state"], done["reference"]) == ("done", 1)
    fresh_api.clock.move_to(NOW_S + 60)
    assert answer(fresh_api, "1/acknowledge", key="k2")["state"] == "done"
    assert notice(fresh_api)["acknowledged"] == "1970-01-01T02:00:00Z"
    assert notice(fresh_api, "birch")["acknowledged"] is None


def test_a_snooze_moves_the_deadline_within_bounds(fresh_api: ApiFixture) -> None:
    """The answer names the new deadline; beyond the policy it is refused with the bound."""
    done = answer(fresh_api, "1/snooze", body=LATER)
    assert (done["state"], done["text"]) == ("done", "notice 1 is due 1970-01-01T03:00:00Z")
    refused = answer(fresh_api, "1/snooze", key="k2", body={**LATER, "for": "9d"})
    assert refused["state"] == "refused" and "out of bounds" in refused["text"]
    assert notice(fresh_api)["deadline"] == "1970-01-01T03:00:00Z"


@pytest.mark.parametrize(
    ("path", "body"), [("1/acknowledge", None), ("1/snooze", LATER), ("99/acknowledge", None)]
)
def test_a_notice_of_another_startup_is_none(
    fresh_api: ApiFixture, path: str, body: object
) -> None:
    """birch names acme's notice, or none at all: the same refusal, and nothing moves."""
    before = notice(fresh_api)
    refused = answer(fresh_api, path, "birch", body=body)
    assert refused["state"] == "refused"
    assert refused["text"].startswith("birch has no notice") and "acme" not in refused["text"]
    assert notice(fresh_api) == before


def test_a_crash_between_snooze_and_answer_moves_it_once(
    fresh_api: ApiFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next cycle finds that this snooze was granted, and answers with its deadline."""
    with monkeypatch.context() as patch:
        patch.setattr("scheduler.jobs.inbox.write_answer", _crash)
        with pytest.raises(KeyboardInterrupt):
            answer(fresh_api, "1/snooze", body=LATER)
    assert answer(fresh_api, "1/snooze", body=LATER)["state"] == "done"
    assert notice(fresh_api)["deadline"] == "1970-01-01T03:00:00Z"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "body.for: Field required"),
        ({"for": "1h"}, "body.reason"),
        ({"for": "soon", "reason": "r"}, "body.for: 'soon' is not a duration"),
        ({"for": "0s", "reason": "r"}, "body.for is out of range"),
        ({"for": "1h", "reason": ""}, "body.reason"),
        ({"for": "1h", "reason": "r", "startup": "birch"}, "body.startup: Unknown field"),
    ],
)
def test_a_wrong_snooze_is_refused(reading: ApiFixture, body: object, says: str) -> None:
    """422 that names the field."""
    headers = {"Idempotency-Key": "k"}
    sent = reading.ask("/v1/notices/1/snooze", "acme", "POST", json=body, headers=headers)
    assert sent.status_code == 422 and says in sent.json()["detail"]
