"""A write is kept once for its key, decided by the scheduler, and refused with a sentence."""

from __future__ import annotations

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from quotas.book.actions.requests import read_requests
from quotas.book.actions.tokens import revoke_token
from quotas.book.inbox import FOLDER, INBOX_NAME, MAX_WAITING, read_answers, waiting_messages
from quotas.model.tokens import fingerprint, id_of
from scheduler.jobs.inbox import KINDS
from tests.quotas.book.book_builders import digest

from .api_fixture import NOW_S, ApiFixture, api_fixture, drain_of

GOOD = {"pool": "h100", "gpus": 1, "duration": "1h", "reason": "run 4"}


def post(at: ApiFixture, body: object = GOOD, key: str | None = "k1", who: str = "acme") -> Any:
    """A request for GPUs."""
    headers = {} if key is None else {"Idempotency-Key": key}
    return at.ask("/v1/requests", who, "POST", json=body, headers=headers)


def decide(at: ApiFixture) -> int:
    """What a cycle does with the inbox."""
    return drain_of(at.book, at.state)(at.clock.now_s())


def kept(at: ApiFixture) -> int:
    """Writes that wait."""
    return len(waiting_messages(at.state, 1000))


def test_a_request_is_opened_by_the_next_cycle(fresh_api: ApiFixture) -> None:
    """202 with a link; waiting until the cycle, then done with the request's number."""
    answer = post(fresh_api)
    assert answer.status_code == 202
    link = answer.headers["location"]
    assert fresh_api.json(link)["state"] == "waiting"
    assert fresh_api.json("/v1/requests")["items"] == []
    assert decide(fresh_api) == 1
    done = fresh_api.json(link)
    assert (done["state"], done["reference"]) == ("done", 1)
    (item,) = fresh_api.json("/v1/requests")["items"]
    assert (item["pool"], item["gpus"], item["duration_s"], item["state"]) == (
        *("h100", 1, 3600),
        "open",
    )
    assert fresh_api.ask(link, "birch").status_code == 404
    assert fresh_api.json("/v1/requests", "birch")["items"] == []
    (request,) = read_requests(fresh_api.book, 10)
    token_hash = fingerprint(fresh_api.tokens["acme"])
    assert token_hash is not None
    assert (request.startup, request.actor) == ("acme", f"token:{id_of(token_hash)}")


def test_a_start_refused_for_quota_is_kept_with_its_request(fresh_api: ApiFixture) -> None:
    """`refused` says what Scaleway answered; anything but quota is refused at the door."""
    assert post(fresh_api, {**GOOD, "refused_for": "luck"}).status_code == 422
    assert post(fresh_api, {**GOOD, "refused_for": "quota"}, "k2").status_code == 202
    assert decide(fresh_api) == 1
    (item,) = fresh_api.json("/v1/requests")["items"]
    assert item["refused_for"] == "quota"


def test_a_request_is_withdrawn_by_its_owner_only(fresh_api: ApiFixture) -> None:
    """Another startup's withdrawal is refused as if there were no such request."""
    post(fresh_api)
    decide(fresh_api)
    key = {"Idempotency-Key": "w"}
    theirs = fresh_api.ask("/v1/requests/1", "birch", "DELETE", headers=key)
    own = fresh_api.ask("/v1/requests/1", "acme", "DELETE", headers=key)
    assert (theirs.status_code, own.status_code) == (202, 202)
    assert decide(fresh_api) == 2
    refused = fresh_api.json(theirs.headers["location"], "birch")
    assert refused["state"] == "refused" and "there is no request 1" in refused["text"]
    assert fresh_api.json(own.headers["location"])["state"] == "done"
    assert fresh_api.json("/v1/requests")["items"][0]["state"] == "withdrawn"


def test_what_the_program_does_not_allow_is_refused_with_its_sentence(
    fresh_api: ApiFixture,
) -> None:
    """The book's own rule answers, and no request is made."""
    link = post(fresh_api, {**GOOD, "pool": "tpu"}).headers["location"]
    decide(fresh_api)
    answer = fresh_api.json(link)
    assert answer["state"] == "refused" and "pool tpu is not in the program" in answer["text"]
    assert list(read_requests(fresh_api.book, 10)) == []


def test_a_replay_gives_the_same_answer(fresh_api: ApiFixture) -> None:
    """The same key and body, before and after the decision: byte for byte, and one request."""
    first = post(fresh_api)
    fresh_api.clock.move_to(NOW_S + 30)
    second = post(fresh_api, dict(reversed(GOOD.items())))
    decide(fresh_api)
    third = post(fresh_api)
    assert first.content == second.content == third.content
    assert decide(fresh_api) == 0
    assert len(list(read_requests(fresh_api.book, 10))) == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "requests/{}"),
        ("POST", "notices/{}/acknowledge"),
        ("GET", "decisions/{}/explanation"),
    ],
)
@pytest.mark.parametrize("digits", [20, 5000])
def test_a_number_of_no_row_is_refused(
    reading: ApiFixture, method: str, path: str, digits: int
) -> None:
    """422 that names it, with more digits than Python reads too."""
    headers = {"Idempotency-Key": "k1"}
    answer = reading.ask(f"/v1/{path.format('9' * digits)}", method=method, headers=headers)
    assert answer.status_code == 422 and "path.number" in answer.json()["detail"]


def test_a_key_with_another_body_is_refused(fresh_api: ApiFixture) -> None:
    """422, and the first write stands alone; the key of another startup is another key."""
    post(fresh_api)
    other = post(fresh_api, {**GOOD, "gpus": 2})
    assert other.status_code == 422 and "send a new key" in other.json()["detail"]
    assert post(fresh_api, who="birch").status_code == 202
    assert kept(fresh_api) == 2


def test_concurrent_writes_with_one_key_are_one(fresh_api: ApiFixture) -> None:
    """Eight at once hear the same answer, and one write is kept."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(fresh_api), range(8)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    assert kept(fresh_api) == 1


def test_so_many_may_wait_and_no_more(fresh_api: ApiFixture) -> None:
    """429 beyond the bound, for that startup alone; a cycle makes room."""
    for number in range(MAX_WAITING):
        assert post(fresh_api, key=f"k{number}").status_code == 202
    full = post(fresh_api, key="one more")
    assert full.status_code == 429 and "after the next cycle" in full.json()["detail"]
    assert post(fresh_api, who="birch").status_code == 202


BAD = [
    ({**GOOD, "gpus": "1"}, 422, "body.gpus"),
    ({**GOOD, "gpus": 1.5}, 422, "body.gpus"),
    ({**GOOD, "gpus": 0}, 422, "body.gpus"),
    ({**GOOD, "gpus": -8}, 422, "body.gpus"),
    ({**GOOD, "gpus": 10**30}, 422, "body.gpus"),
    ({**GOOD, "gpus": True}, 422, "body.gpus"),
    ({**GOOD, "duration": "12"}, 422, "body.duration"),
    ({**GOOD, "duration": "12 hours"}, 422, "body.duration"),
    ({**GOOD, "duration": "0s"}, 422, "body.duration"),
    ({**GOOD, "duration": "999999999d"}, 422, "body.duration"),
    ({**GOOD, "duration": 3600}, 422, "body.duration"),
    ({**GOOD, "pool": ""}, 422, "body.pool"),
    ({**GOOD, "startup": "birch"}, 422, "body.startup: Unknown field"),
    ({**GOOD, "reason": "x" * 501}, 422, "body.reason"),
    ({"pool": "h100"}, 422, "body.gpus: Field required"),
    ([], 422, "body"),
    (None, 422, "body"),
]


@pytest.mark.parametrize(("body", "status", "says"), BAD)
def test_a_wrong_body_is_refused(reading: ApiFixture, body: object, status: int, says: str) -> None:
    """4xx that names the field, and nothing is kept."""
    before = kept(reading), digest(reading.book)
    answer = post(reading, body)
    assert answer.status_code == status
    assert says in answer.json()["detail"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert (kept(reading), digest(reading.book)) == before


@pytest.mark.parametrize(
    ("content", "headers", "status", "says"),
    [
        (b'{"pool": ', {}, 400, "JSON decode error"),
        (b"\xff\xfe", {}, 400, ""),
        (b"[" * 9000, {}, 400, ""),
        (b"{" + b" " * 20_000 + b"}", {}, 413, "16384 bytes"),
        (json.dumps(GOOD).encode(), {"Content-Type": "text/plain"}, 422, "body"),
        (json.dumps(GOOD).encode(), {"Idempotency-Key": ""}, 400, "Idempotency-Key"),
        (json.dumps(GOOD).encode(), {"Idempotency-Key": "k" * 101}, 400, "Idempotency-Key"),
        (json.dumps(GOOD).encode(), {"Content-Length": "-1"}, 413, "16384 bytes"),
    ],
)
def test_a_malformed_message_is_refused(
    reading: ApiFixture, content: bytes, headers: dict[str, str], status: int, says: str
) -> None:
    """Broken JSON, huge bodies and odd headers are 4xx problems, and nothing is kept."""
    sent = {"Content-Type": "application/json", "Idempotency-Key": "k", **headers}
    answer = reading.ask("/v1/requests", "acme", "POST", content=content, headers=sent)
    assert answer.status_code == status, answer.text
    assert says in answer.json()["detail"]
    assert kept(reading) == 0


def test_a_body_without_a_stated_length_is_counted(reading: ApiFixture) -> None:
    """A chunked body is refused once it passes the limit."""
    chunks = (b" " * 1000 for _ in range(50))
    key = {"Content-Type": "application/json", "Idempotency-Key": "k"}
    answer = reading.ask("/v1/requests", "acme", "POST", content=chunks, headers=key)
    assert answer.status_code == 413


@pytest.mark.parametrize("name", ["Authorization", "Idempotency-Key"])
def test_a_header_that_comes_twice_is_refused(reading: ApiFixture, name: str) -> None:
    """Which of two is meant is not guessed."""
    pairs = [(name, "a"), (name, "b")]
    answer = reading.client.request("POST", "/v1/requests", headers=pairs, json=GOOD)
    assert answer.status_code == 400 and "came twice" in answer.json()["detail"]


def test_a_write_without_a_key_is_refused(reading: ApiFixture) -> None:
    """400 that says which header to send."""
    answer = post(reading, key=None)
    assert answer.status_code == 400 and "Send an Idempotency-Key" in answer.json()["detail"]


def forge(at: ApiFixture, who: str = "acme", **changes: object) -> None:
    """A row in the inbox that our API did not write, in the name of one of the tokens."""
    token_hash = fingerprint(at.tokens[who])
    assert token_hash is not None
    row = {
        "id": "a" * 32,
        "bearer": "acme",
        "key": "k",
        "kind": "request.open",
        "startup": "acme",
        "body": json.dumps({"pool": "h100", "gpus": 1, "duration_s": 60, "reason": ""}),
        "token": id_of(token_hash),
        "at_s": NOW_S,
        "settled_s": None,
        **changes,
    }
    with sqlite3.connect(at.state / FOLDER / INBOX_NAME) as inbox:
        names = ", ".join(f":{name}" for name in row)
        inbox.execute(f"INSERT INTO message VALUES ({names})", row)


@pytest.mark.parametrize(
    "changes",
    [
        {"startup": "birch"},
        {"startup": "nobody"},
        {"kind": "grant"},
        {"kind": "x" * 600},
        {"token": "tok-none"},
        {"body": "{"},
        {"body": "[]"},
        {"body": '{"pool": "h100", "gpus": "1", "duration_s": 60, "reason": ""}'},
        {"body": '{"pool": "h100", "gpus": 1, "duration_s": 60, "reason": "", "startup": "b"}'},
        {"body": "[" * 60_000},
        {"body": b"\xff"},
        {"id": "../x"},
        {"at_s": "now"},
        {"at_s": -1},
    ],
)
def test_what_the_api_did_not_write_is_not_believed(
    fresh_api: ApiFixture, changes: dict[str, object]
) -> None:
    """A forged row opens no request, whatever is wrong with it, and the cycle goes on."""
    forge(fresh_api, **changes)
    decide(fresh_api)
    assert list(read_requests(fresh_api.book, 10)) == []
    post(fresh_api, key="good")
    decide(fresh_api)
    assert len(list(read_requests(fresh_api.book, 10))) == 1


def test_an_unforged_row_is_believed(fresh_api: ApiFixture) -> None:
    """The forgeries above fail for their one fault, not for being rows."""
    forge(fresh_api)
    assert decide(fresh_api) == 1
    assert len(list(read_requests(fresh_api.book, 10))) == 1


BODIES = {
    "request.open": {"pool": "h100", "gpus": 1, "duration_s": 60, "reason": ""},
    "request.withdraw": {"request": 1},
    "notice.acknowledge": {"notice": 1},
    "notice.snooze": {"notice": 1, "for_s": 60, "reason": "r"},
    "credits.advance": {},
}
MAY_WRITE = {"acme-request": set(BODIES), "acme-node": {"notice.acknowledge"}}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("who", ["acme-read", "acme-node", "acme-power", "acme-request"])
def test_a_row_is_carried_out_only_within_its_token_s_scope(
    fresh_api: ApiFixture, who: str, kind: str
) -> None:
    """`serve` checks the scope, and so does the daemon: whoever writes the inbox gains nothing."""
    forge(fresh_api, who, kind=kind, body=json.dumps(BODIES[kind]))
    before = fresh_api.json("/v1/notices"), list(read_requests(fresh_api.book, 10))
    assert decide(fresh_api) == 1
    answer = read_answers(fresh_api.book, {"a" * 32})["a" * 32]
    may_write = kind in MAY_WRITE.get(who, set())
    assert ("may not ask for acme" in answer.text) == (not may_write)
    if not may_write:
        assert answer.state == "refused"
        assert before == (fresh_api.json("/v1/notices"), list(read_requests(fresh_api.book, 10)))


def test_an_inbox_that_is_no_database_stops_nothing(fresh_api: ApiFixture) -> None:
    """The cycle goes on without it; a link in its place is not followed."""
    path = fresh_api.state / FOLDER / INBOX_NAME
    path.unlink()
    path.write_bytes(b"no database at all" * 100)
    assert decide(fresh_api) == 0
    path.unlink()
    path.symlink_to(fresh_api.state / "cohortd.db")
    assert decide(fresh_api) == 0


def test_a_token_revoked_in_between_decides_nothing(fresh_api: ApiFixture) -> None:
    """A write kept under a token that was revoked before the cycle is refused."""
    link = post(fresh_api).headers["location"]
    token_hash = fingerprint(fresh_api.tokens["acme"])
    assert token_hash is not None
    revoke_token(fresh_api.book, id_of(token_hash), NOW_S)
    decide(fresh_api)
    answer = fresh_api.json(link, "acme-read")
    assert answer["state"] == "refused" and "was revoked before" in answer["text"]


def test_a_crash_between_action_and_answer_repeats_nothing(
    fresh_api: ApiFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next cycle finds the request under its key, and answers with its number."""
    link = post(fresh_api).headers["location"]
    with monkeypatch.context() as patch:
        patch.setattr("scheduler.jobs.inbox.write_answer", _crash)
        with pytest.raises(KeyboardInterrupt):
            decide(fresh_api)
    assert decide(fresh_api) == 1
    assert fresh_api.json(link)["reference"] == 1
    assert len(list(read_requests(fresh_api.book, 10))) == 1


def _crash(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_write_outlives_the_api(tmp_path: Any) -> None:
    """What was kept is decided though the API has gone."""
    with api_fixture(tmp_path) as made:
        assert post(made).status_code == 202
        made.client.close()
        assert decide(made) == 1
