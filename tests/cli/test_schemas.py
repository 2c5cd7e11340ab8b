"""Every published schema describes the output of the command of its name."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from exporters.api.models import CreditsAnswer
from quotas.book import Book
from quotas.book.actions.requests import open_request
from quotas.model.program import Curve, Startup, Tenure
from quotas.state.requests import RequestSpec
from tests.cli.command import REPO, run_in_process
from tests.cli.operator_env import PROGRAM, OperatorEnv
from tests.exporters.api.api_fixture import api_fixture
from tests.scheduler import harness as rigs
from tests.scheduler.harness import OTHER, Harness, server

SCHEMAS = REPO / "docs" / "schemas"
DRAFT = "https://json-schema.org/draft/2020-12/schema"
HOUR_S = 3600


def schema(name: str) -> Any:
    return json.loads((SCHEMAS / f"{name}.json").read_text())


def check(name: str, value: object) -> None:
    """Raise if a value does not match its schema."""
    jsonschema_rs.validator_for(schema(name)).validate(value)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Acme runs 16 of 16 GPUs, 8 of them lent by birch, which asks for its quota back."""
    folder = tmp_path_factory.mktemp("state")
    made = rigs.program()
    (acme,) = made.startups()
    grants = (replace(acme.grants[0], id="b1"),)
    birch = Startup("birch", "c", (Tenure(OTHER, 0),), nominal={"h100": 8}, grants=grants)
    acme = replace(acme, nominal={"h100": 8})
    pool = replace(made.pools[0], capacity=((0, 16),))
    cohort = replace(made.cohorts[0], startups=(acme, birch))
    policy = replace(made.policy, pacing_curve=Curve.FLAT, daily_burn_ucr=10**9)
    program = replace(made, pools=(pool,), cohorts=(cohort,), policy=policy)
    harness = Harness(program, Book.open(folder))
    harness.cloud.add(server("s1"), server("s2"))
    harness.run()
    harness.run(HOUR_S)
    ask = RequestSpec("birch", "h100", 8, HOUR_S, "a deadline", "tests", harness.clock.now_s())
    open_request(harness.book, ask)
    harness.run()
    harness.book.close()
    return folder


@pytest.mark.parametrize("name", sorted(path.stem for path in SCHEMAS.glob("*.json")))
def test_a_schema_is_one_of_the_draft(name: str) -> None:
    """Each file is a valid schema of draft 2020-12, with an id and a title."""
    made = schema(name)
    jsonschema_rs.meta.validate(made)
    assert made["$schema"] == DRAFT and made["title"]
    assert made["$id"] == f"urn:cohortd:schema:{name}"


def test_status(state: Path) -> None:
    """status matches, with a share, a pace, a request, an overuse, a server and a zone in it."""
    said = run_in_process("status", "--state", state, "--json").json
    check("status", said)
    for filled in ("startups", "shares", "requests", "overuse", "zones"):
        assert said[filled], filled
    assert said["startups"][0]["servers"] and said["startups"][0]["pace"]["daily_burn"]
    assert all(share.keys() >= {"nominal", "share", "ceiling"} for share in said["shares"])


def test_explain(state: Path) -> None:
    """explain matches: of a startup with shares and pace, of a server with its decisions."""
    said = run_in_process("explain", "acme", "--state", state, "--json").json
    check("explain", said)
    assert said["decisions"] and said["subject"] == "acme"
    status = run_in_process("status", "--state", state, "--json").json
    (acme,) = (line for line in status["startups"] if line["name"] == "acme")
    assert said["pace"] == acme["pace"]
    assert said["shares"] == [each for each in status["shares"] if each["startup"] == "acme"]
    number = said["decisions"][0]["id"]
    one = run_in_process("explain", number, "--state", state, "--json").json
    check("explain", one)
    assert [row["id"] for row in one["decisions"]] == [number]
    assert one["shares"] == [] and one["pace"] is None


def test_plan(tmp_path: Path) -> None:
    """plan matches: a first plan, one that changes and removes, and one without a change."""
    operator_env = OperatorEnv(tmp_path)
    operator_env.write(PROGRAM)
    first = operator_env.run("plan", "--json").json
    check("plan", first)
    assert first and all(change["before"] is None for change in first)
    assert operator_env.run("apply").code == 0
    check("plan", operator_env.run("plan", "--json").json)
    operator_env.write(PROGRAM.partition("[cohort.spring.startup.birch]")[0])
    changed = operator_env.run("plan", "--json").json
    check("plan", changed)
    assert any(change["needs_confirmation"] and change["after"] is None for change in changed)


def test_credits(tmp_path: Path) -> None:
    """The API's credits match, and the published schema is that of the model."""
    own = CreditsAnswer.model_json_schema()
    published = schema("credits")
    assert {key: value for key, value in published.items() if key not in ("$schema", "$id")} == own
    with api_fixture(tmp_path / "state") as made:
        said = made.json("/v1/credits")
    check("credits", said)
    assert said["pace"] and said["expiring_next"]


@pytest.mark.parametrize(
    ("name", "command"),
    [("status", ("status",)), ("explain", ("explain", "acme"))],
)
def test_a_schema_refuses_what_is_not_said(
    name: str, command: tuple[str, ...], state: Path
) -> None:
    """An answer without a top field, or with a number for credits, does not match."""
    said = run_in_process(*command, "--state", state, "--json").json
    for key in schema(name)["required"]:
        with pytest.raises(jsonschema_rs.ValidationError, match=key):
            check(name, {k: v for k, v in said.items() if k != key})
    spoilt = copy.deepcopy(said)
    pace = spoilt["pace"] if name == "explain" else spoilt["startups"][0]["pace"]
    pace["spent"] = 1.5
    with pytest.raises(jsonschema_rs.ValidationError):
        check(name, spoilt)
    pace["spent"], pace["unheard"] = "1.50", True
    with pytest.raises(jsonschema_rs.ValidationError, match="unheard"):
        check(name, spoilt)
