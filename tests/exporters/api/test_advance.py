"""A startup takes a part of its next tranche ahead over the API; decided by the next cycle."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from quotas.book.cycle.commit import apply_program
from quotas.book.cycle.state import load_state
from quotas.model.program import Policy, Program, Tranche
from tests.builders import a_grant, a_program, a_startup

from .api_fixture import NOW_S, STARTUPS, ApiFixture
from .test_writes import _crash, decide, forge, kept

CREDIT = 1_000_000
BEGINS_S = NOW_S + 86_400


def tranched(part_ppm: int = 500_000) -> Program:
    """Acme and birch as ever, and each with a grant of two tranches, the second in a day."""
    tranches = (Tranche(10 * CREDIT, 0), Tranche(20 * CREDIT, BEGINS_S))
    startups = (
        a_startup(
            name,
            grants=(a_grant(), replace(a_grant(f"{name}-t", 30 * CREDIT), tranches=tranches)),
        )
        for name in STARTUPS
    )
    return a_program(*startups, policy=Policy(self_advance_ppm=part_ppm))


@pytest.fixture
def at(fresh_api: ApiFixture) -> ApiFixture:
    """The API over a book in which a tranche is to come."""
    apply_program(fresh_api.book, tranched(), NOW_S, "tests")
    return fresh_api


def post(at: ApiFixture, body: object = None, key: str = "k", who: str = "acme") -> Any:
    """Ask for it."""
    headers = {"Idempotency-Key": key}
    return at.ask("/v1/advance", who, "POST", json=body, headers=headers)


def answer(at: ApiFixture, body: object = None, key: str = "k", who: str = "acme") -> Any:
    """The write once it was decided."""
    sent = post(at, body, key, who)
    assert sent.status_code == 202, sent.text
    decide(at)
    return at.json(sent.headers["location"], who)


def available(at: ApiFixture, who: str = "acme") -> Decimal:
    """What a startup may spend now."""
    return Decimal(at.json("/v1/credits", who)["available"])


def test_half_of_the_tranche_is_available_after_the_next_cycle(at: ApiFixture) -> None:
    """202, then done: the answer has the amount, the tranche and what remains of it."""
    before = available(at)
    sent = post(at)
    assert (sent.status_code, sent.json()["kind"]) == (202, "credits.advance")
    assert at.json(sent.headers["location"])["state"] == "waiting"
    assert available(at) == before
    assert decide(at) == 1
    done = at.json(sent.headers["location"])
    assert done["state"] == "done"
    assert done["text"].startswith("10.00 credits of tranche acme-t/2 can be spent now, until ")
    assert "; 10.00 remain in the tranche, which begins at " in done["text"]
    assert f"acme-t/2.{done['reference']}" in {grant.id for grant in load_state(at.book).grants}
    assert (available(at), available(at, "birch")) == (before + 10, before)
    (news,) = (e for e in at.json("/v1/decisions")["items"] if e["rule"] == "advance")
    assert "took 10.00 credits of tranche acme-t/2 of acme ahead" in news["reason"]
    assert at.json(f"/v1/decisions/{news['id']}/explanation")["is_recomputed"]
    assert at.json("/v1/notices?live=false")["items"][0]["rule"] == "advance"


@pytest.mark.parametrize(
    ("body", "who", "says"),
    [
        ({"amount": "10.000001"}, "acme", "more than the 10.00 of tranche acme-t/2"),
        ({"grant": "birch-t"}, "acme", "acme has no grant birch-t; it has g1, acme-t"),
        ({"grant": "g1"}, "acme", "no tranche of g1 is to come"),
    ],
)
def test_what_the_book_refuses_is_answered_with_its_sentence(
    at: ApiFixture, body: object, who: str, says: str
) -> None:
    """One sentence, and no credit moves."""
    before = load_state(at.book).grants
    refused = answer(at, body, who=who)
    assert refused["state"] == "refused" and says in refused["text"]
    assert load_state(at.book).grants == before


def test_a_second_time_and_a_program_that_switched_it_off_are_refused(at: ApiFixture) -> None:
    """Once for each tranche, by whichever key; with the policy at 0 never."""
    assert answer(at, {"amount": "2.5", "grant": "acme-t"})["state"] == "done"
    again = answer(at, {"amount": "2.5", "grant": "acme-t"}, "another")
    assert again["state"] == "refused" and "was taken ahead before" in again["text"]
    apply_program(at.book, tranched(0), NOW_S, "tests")
    off = answer(at, who="birch")
    assert off["state"] == "refused" and "lets startups take nothing ahead" in off["text"]


@pytest.mark.parametrize("amount_ucr", [0, -1])
def test_an_amount_that_is_not_positive_is_refused_by_the_cycle_too(
    at: ApiFixture, amount_ucr: int
) -> None:
    """Our API does not let it pass; whoever else wrote it into the inbox gets the sentence."""
    forge(at, kind="credits.advance", body=json.dumps({"grant": None, "amount_ucr": amount_ucr}))
    before = load_state(at.book).grants
    assert decide(at) == 1
    refused = at.json("/v1/writes/" + "a" * 32)
    assert refused["state"] == "refused" and "above zero" in refused["text"]
    assert load_state(at.book).grants == before


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"amount": "0"}, "body.amount: it must be above zero"),
        ({"amount": "-5"}, "body.amount: it must be above zero"),
        ({"amount": "many"}, "body.amount: 'many' is not a decimal number"),
        ({"amount": "0.0000001"}, "body.amount: '0.0000001' is finer than a micro-credit"),
        ({"amount": 5}, "body.amount"),
        ({"grant": ""}, "body.grant"),
        ({"grant": 7}, "body.grant"),
        ({"tranche": "acme-t/2"}, "body.tranche: Unknown field"),
        ([], "body"),
    ],
)
def test_a_wrong_body_is_refused(reading: ApiFixture, body: object, says: str) -> None:
    """422 that names the field, and nothing is kept."""
    sent = post(reading, body)
    assert sent.status_code == 422 and says in sent.json()["detail"]
    assert kept(reading) == 0


def test_a_crash_between_action_and_answer_takes_once(
    at: ApiFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next cycle finds the transfer under its key, and repeats its answer."""
    with monkeypatch.context() as patch:
        patch.setattr("scheduler.jobs.inbox.write_answer", _crash)
        with pytest.raises(KeyboardInterrupt):
            answer(at)
    done = answer(at)
    assert done["state"] == "done" and done["text"].startswith("10.00 credits")
    news = [e for e in at.json("/v1/decisions")["items"] if e["rule"] == "advance"]
    assert len(news) == 1
