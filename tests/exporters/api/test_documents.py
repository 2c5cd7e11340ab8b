"""What a startup holds in its hands: its months to the micro-credit, and why, recomputed."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from typing import Any

import pytest

from quotas.book.actions.overrides import set_override
from quotas.book.cycle.commit import commit
from quotas.book.cycle.lease import acquire
from quotas.book.reads.statements import close_months
from quotas.model.units import month_start_s
from quotas.state.overrides import Override
from quotas.state.snapshot import Decision
from tests.quotas.book.book_builders import result_of

from .api_fixture import NOW_S, ApiFixture

INPUTS: dict[str, int | str] = {
    "startup": "acme",
    "pool": "h100",
    "server": "train",
    "gpus": 8,
    "used_gpus": 16,
    "limit_gpus": 8,
}


def decide(at: ApiFixture, **changes: Any) -> int:
    """One more decision of acme, about its server; its number."""
    lease = acquire(at.book, "a", NOW_S, 180)
    assert lease is not None
    values = {"verb": "announce", "inputs": INPUTS, **changes}
    made = Decision("acme", "server-acme", "limit", episode="c", **values)
    none: Any = []
    result = result_of(sweeps=none, runs=none, transfers=none, decisions=[made])
    commit(at.book, result, lease, NOW_S)
    return int(at.json("/v1/decisions")["items"][0]["id"])


def test_why_recomputes_a_decision(fresh_api: ApiFixture) -> None:
    """Inputs lead to the reason again; what would change it, what follows, and who may act."""
    number = decide(fresh_api)
    found = fresh_api.json(f"/v1/decisions/{number}/explanation")
    assert found["is_recomputed"] and found["inputs"] == INPUTS
    assert found["check"] == "its inputs lead to it again"
    assert "acme uses 16 GPUs in h100, its limit is 8" in found["reason"]
    assert found["counterfactual"] == "with at most 8 GPUs in h100 nothing would be stopped"
    assert found["next_step"] == (
        "its stop follows at 1970-01-01T02:30:00Z, unless the cause ends before"
    )
    assert found["changed_by"].startswith("the startup, by stopping servers")


def test_a_reason_that_does_not_follow_is_shown_as_such(fresh_api: ApiFixture) -> None:
    """A decision whose inputs lead elsewhere, or are lacking, says so and breaks nothing."""
    number = decide(fresh_api, inputs={**INPUTS, "used_gpus": 8})
    found = fresh_api.json(f"/v1/decisions/{number}/explanation")
    assert found["is_recomputed"] is False
    assert found["check"] == "its inputs lead to no such decision"
    number = decide(fresh_api, inputs={})
    bare = fresh_api.json(f"/v1/decisions/{number}/explanation")
    assert bare["reason"] == "its facts are not complete"
    assert bare["inputs"] == {} and bare["is_recomputed"] is False
    assert bare["counterfactual"] == "it follows from what was observed"


def test_a_statement_adds_up(reading: ApiFixture) -> None:
    """Opening, the grant and the charge make the closing, and the list says the same."""
    (head,) = reading.json("/v1/statements")["items"]
    month = reading.json("/v1/statements/1970-01")
    lines = month.pop("lines")
    assert month == head and (head["closed"], head["hash"]) == (None, None)
    total = sum(Decimal(line["amount"]) for line in lines)
    assert Decimal(head["opening"]) + total == Decimal(head["closing"]) == Decimal("0.9964")
    assert [line["kind"] for line in lines] == ["grant", "charge"]
    assert "key" not in str(lines)


def test_every_closed_month_is_served(fresh_api: ApiFixture) -> None:
    """Each month of the list can be asked for, the older of two closed ones too."""
    march_s = month_start_s(0, 2)
    with fresh_api.book.writing() as connection:
        assert close_months(connection, march_s, march_s) == 4
    fresh_api.clock.move_to(march_s + 60)
    heads = fresh_api.json("/v1/statements")["items"]
    assert [head["month"] for head in heads] == ["1970-03", "1970-02", "1970-01"]
    for head in heads:
        month = fresh_api.json(f"/v1/statements/{head['month']}")
        assert {key: value for key, value in month.items() if key != "lines"} == head


@pytest.mark.parametrize(
    ("path", "headers"),
    [("?format=csv", {}), ("", {"Accept": "text/csv"}), ("", {"Accept": "text/csv;q=1, */*"})],
)
def test_a_statement_comes_as_csv(reading: ApiFixture, path: str, headers: dict[str, str]) -> None:
    """By parameter or by Accept: rows between opening and closing, which sum to the closing."""
    answer = reading.ask(f"/v1/statements/1970-01{path}", headers=headers)
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["vary"] == "Authorization, Accept"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["kind"] for row in rows] == ["opening", "grant", "charge", "closing"]
    *lines, closing = [Decimal(row["amount"]) for row in rows]
    assert sum(lines) == closing


@pytest.mark.parametrize(
    ("path", "headers"),
    [("?format=json", {"Accept": "text/csv"}), ("", {"Accept": "application/json, text/csv"})],
)
def test_json_wins_where_it_is_asked_for(
    reading: ApiFixture, path: str, headers: dict[str, str]
) -> None:
    """The parameter is above Accept, and JSON above CSV where both are accepted."""
    answer = reading.ask(f"/v1/statements/1970-01{path}", headers=headers)
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("month", "status"), [("1969-12", 404), ("1970-02", 404), ("1970-13", 422), ("70-1", 422)]
)
def test_a_month_without_a_statement_is_refused(
    reading: ApiFixture, month: str, status: int
) -> None:
    """Before the first, after now, or no month at all: a sentence, and never a 5xx."""
    answer = reading.ask(f"/v1/statements/{month}")
    assert (answer.status_code, answer.headers["content-type"]) == (
        *(status,),
        "application/problem+json",
    )


def test_an_auditor_reads_what_operators_did(fresh_api: ApiFixture) -> None:
    """A word said by an operator is there with who, what and why; the newest first."""
    override = Override("freeze", "acme", "on", NOW_S, NOW_S + 60, "ana", "a holiday")
    set_override(fresh_api.book, override)
    first = fresh_api.json("/v1/admin/actions?limit=1", "audit")["items"][0]
    assert (first["actor"], first["command"], first["subject"]) == ("ana", "freeze", "acme")
    assert first["reason"] == "a holiday" and first["at"] == "1970-01-01T02:00:00Z"
