"""State machines: every change of each table by name, every other one, and the docs' diagrams.

`python -m tests.quotas.model.test_machine` writes the diagrams into the docs.
"""

from __future__ import annotations

import ast
import re
from enum import StrEnum
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from quotas.ledger.holds import HOLDS
from quotas.model.machine import IllegalTransition, Machine
from quotas.model.program import MODES, Mode, Program
from quotas.rules.context import LEVELS
from quotas.state.notices import INTENTS, NOTICES
from quotas.state.requests import REQUESTS, Request
from tests.builders import a_notice, an_intent

REPOSITORY = Path(__file__).parents[3]
PAGES: dict[str, tuple[Machine[Any], str]] = {
    "notice": (NOTICES, "enforcement.md"),
    "intent": (INTENTS, "enforcement.md"),
    "level": (LEVELS, "enforcement.md"),
    "mode": (MODES, "enforcement.md"),
    "request": (REQUESTS, "shares.md"),
    "hold": (HOLDS, "credits.md"),
}
COMMAND = "python -m tests.quotas.model.test_machine"
CHANGES = [
    (machine, old, new)
    for machine, _ in PAGES.values()
    for old, new in product(machine.states, machine.states)
]


def name_of(value: Any) -> str:
    """A machine or a state in the name of a test."""
    return value.name.split()[-1] if isinstance(value, Machine) else str(value)


def with_diagram(page: str, name: str, machine: Machine[Any]) -> str:
    """A page with the machine's diagram between its markers."""
    begin, end = f"<!-- states: {name} ({COMMAND}) -->\n", f"\n<!-- end of states: {name} -->"
    assert begin in page and end in page, f"{name} has no markers"
    before, _, rest = page.partition(begin)
    return f"{before}{begin}{machine.diagram()}{end}{rest.partition(end)[2]}"


def in_state(machine: Machine[Any], state: StrEnum) -> Any:
    """A notice, an intent or a request in a state; None for what has no stored state."""
    if machine is NOTICES:
        return a_notice(state=state)
    if machine is INTENTS:
        return an_intent(state=state)
    if machine is REQUESTS:
        return Request("acme", "h100", 2, 3600, "", "cto", 5, state=state)  # type: ignore[arg-type]  # text
    return None


@pytest.mark.parametrize(("machine", "old", "new"), CHANGES, ids=name_of)
def test_a_change_is_legal_exactly_if_the_table_has_it(
    machine: Machine[Any], old: StrEnum, new: StrEnum
) -> None:
    """Each change of the table passes, with its reason. Each other one raises and names both."""
    value = in_state(machine, old)
    if new in machine.transitions[old]:
        assert machine.transitions[old][new]
        assert old in machine.before(new)
        machine.check(old, new)
        if value is not None:
            after = value.to(new, id=7)
            assert (after.state, after.id) == (new, 7)
            assert after.stored_states >= {old, new}
        return
    assert old not in machine.before(new)
    match = f"^{machine.name} cannot change from {old} to {new}$"
    with pytest.raises(IllegalTransition, match=match):
        machine.check(old, new)
    if value is not None:
        with pytest.raises(IllegalTransition, match=match):
            value.to(new)


@pytest.mark.parametrize(("machine", "page"), PAGES.values(), ids=PAGES)
def test_a_table_has_every_state_and_reaches_each(machine: Machine[Any], page: str) -> None:
    """Each state has a row of the table, and is a start or follows from another state."""
    assert set(machine.transitions) == set(machine.states)
    for state in machine.states:
        assert state in machine.starts or machine.before(state) - {state}


@pytest.mark.parametrize("name", PAGES)
def test_the_diagram_in_the_docs_is_the_table(name: str) -> None:
    """The diagram between the markers is generated from the table."""
    machine, page = PAGES[name]
    text = (REPOSITORY / "docs" / page).read_text(encoding="utf-8")
    assert with_diagram(text, name, machine) == text, f"write the diagrams: {COMMAND}"


@pytest.mark.parametrize("machine", [NOTICES, INTENTS, REQUESTS], ids=name_of)
def test_a_row_reads_back_as_the_state_and_an_unknown_text_raises(machine: Machine[Any]) -> None:
    """The text of each state becomes the state. Any other text is refused."""
    for state in machine.states:
        found = in_state(machine, state.value)
        assert found is not None and found.state is state
    with pytest.raises(ValueError, match="'held' is not a valid"):
        in_state(machine, "held")  # type: ignore[arg-type]  # text


def test_an_unknown_mode_raises() -> None:
    """A program or a notice with an unknown mode is refused; a known text becomes the mode."""
    assert Program("p", 1, mode="off").mode is Mode.OFF  # type: ignore[arg-type]  # text
    assert a_notice(mode="shadow").mode is Mode.SHADOW
    with pytest.raises(ValueError, match="'on' is not a valid Mode"):
        Program("p", 1, mode="on")  # type: ignore[arg-type]  # text
    with pytest.raises(ValueError, match="'on' is not a valid Mode"):
        a_notice(mode="on")


def test_no_module_changes_a_state_past_its_machine() -> None:
    """A module that knows notices, intents or requests calls `to`, never `replace(state=…)`."""
    for path in [*REPOSITORY.glob("quotas/**/*.py"), *REPOSITORY.glob("scheduler/**/*.py")]:
        source = path.read_text(encoding="utf-8")
        if not re.search(r"from quotas\.state\.(notices|requests) import", source):
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "replace":
                assert "state" not in {word.arg for word in node.keywords}, f"{path}:{node.lineno}"


if __name__ == "__main__":
    for NAME, (MACHINE, PAGE) in PAGES.items():
        FILE = REPOSITORY / "docs" / PAGE
        TEXT = with_diagram(FILE.read_text(encoding="utf-8"), NAME, MACHINE)
        FILE.write_text(TEXT, encoding="utf-8")
