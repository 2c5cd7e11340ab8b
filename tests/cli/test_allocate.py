"""`cohortd allocate`: a problem on standard input, its division on standard output."""

from __future__ import annotations

import io
import json
import re
import sys
from typing import Any
from unittest.mock import patch

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cli.command import REPO, CommandResult, run_in_process
from tests.quotas.shares.problems import node, problem, trees
from tests.quotas.shares.test_problem import REFUSED

SCHEMA = jsonschema_rs.validator_for(
    json.loads((REPO / "docs" / "schemas" / "shares.json").read_text())
)


def allocate(text: str) -> CommandResult:
    """The command with this text on its standard input."""
    with patch.object(sys, "stdin", io.StringIO(text)):
        return run_in_process("allocate")


@settings(max_examples=25, deadline=None)
@given(trees(steps=(1, 2, 8)), st.booleans())
def test_every_answer_has_the_published_shape(stated: dict[str, Any], divisible: bool) -> None:
    """Whole and divisible problems alike are answered in the shape of docs/schemas/shares.json."""
    ran = allocate(json.dumps(stated | {"divisible": divisible}))
    assert ran.code == 0, ran.err
    SCHEMA.validate(ran.json)
    leaves = {e["name"] for e in stated["nodes"]} - {e["parent"] for e in stated["nodes"]}
    assert ran.json["shares"].keys() == leaves


@pytest.mark.parametrize("kind", sorted(REFUSED))
def test_bad_input_is_one_sentence_and_exit_2(kind: str) -> None:
    """The command names whatever is wrong with a problem, and prints no answer and no traceback."""
    stated, says = REFUSED[kind]
    ran = allocate(json.dumps(stated))
    assert ran.code == 2 and ran.out == ""
    assert says in ran.err and ran.err.startswith("cohortd: ")
    assert ran.err.count("\n") == 1 and "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "standard input is no JSON"),
        ("{", "standard input is no JSON"),
        ('{"pools": {}, "nodes": [], "nodes": []}', "field 'nodes' is there twice"),
        ("[" * 100_000, "standard input is no JSON"),
        ('{"pools": {"h100": {"gpus": 1' + "0" * 5000 + '}}, "nodes": []}', "no JSON"),
        ('{"pools": {"h100": {"gpus": 1e400}}, "nodes": []}', "field 'gpus' is inf"),
        ('{"pools": {"h100": {"gpus": "1e999999999"}}, "nodes": []}', "field 'gpus'"),
    ],
)
def test_what_is_no_json_is_refused(text: str, says: str) -> None:
    """Broken, doubled, endless or absurd input gets one sentence."""
    ran = allocate(text)
    assert ran.code == 2 and ran.out == "", ran.err
    assert says in ran.err and len(ran.err) < 300 and "Traceback" not in ran.err


def test_the_worked_example_of_the_page() -> None:
    """docs/shares.md shows a problem and its shares, and the command prints exactly those."""
    page = (REPO / "docs" / "shares.md").read_text()
    stated, shown = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    said = allocate(stated).json
    for own in said["shares"].values():
        assert own["h100"].pop("reason")
    assert said == json.loads(shown)


def test_the_reasons_of_the_page() -> None:
    """The sentences that docs/shares.md quotes are those of its example."""
    page = (REPO / "docs" / "shares.md").read_text()
    stated, _ = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    said = allocate(stated).json
    quoted = re.findall(r"^> (.+)$", page, re.MULTILINE)
    reasons = [own["h100"]["reason"] for own in said["shares"].values()]
    assert quoted and set(quoted) <= set(reasons)


def test_an_empty_problem_has_an_empty_answer() -> None:
    """Without a pool or a startup nothing is shared, and that is no error."""
    assert allocate('{"pools": {}, "nodes": []}').json == {"shares": {}, "unallocated": {}}
    alone = allocate(json.dumps(problem(4))).json
    assert alone == {"shares": {}, "unallocated": {"h100": 4}}
    none = allocate(json.dumps(problem(0, node("a", demand=9)))).json
    assert none["shares"]["a"]["h100"]["share"] == 0
