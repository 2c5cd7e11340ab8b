"""States of a hold: the transition table, and its diagram in the docs."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from quotas.ledger.holds import HOLD_TRANSITIONS, HoldEnding, HoldState, hold_after

PAGE = Path(__file__).parents[3] / "docs" / "credits.md"


def diagram() -> str:
    """The table as a mermaid diagram."""
    lines = ["[*] --> open: hold"]
    lines += [f"{old} --> {new}: {ending}" for (old, ending), new in HOLD_TRANSITIONS.items()]
    ended = dict.fromkeys(HOLD_TRANSITIONS.values())
    lines += [f"{state} --> [*]" for state in ended]
    return "\n".join(["```mermaid", "stateDiagram-v2", *(f"  {line}" for line in lines), "```"])


def test_the_diagram_in_the_docs_is_the_table() -> None:
    """The block under "States of a hold" in docs/credits.md is generated from the table."""
    assert diagram() in PAGE.read_text(encoding="utf-8"), f"put this there:\n{diagram()}"


@pytest.mark.parametrize(("state", "ending"), [*product(HoldState, HoldEnding)])
def test_a_hold_ends_once(state: HoldState, ending: HoldEnding) -> None:
    """An open hold ends in the way that the table says. An ended hold cannot end again."""
    if state is HoldState.OPEN:
        assert hold_after(state, ending) is HOLD_TRANSITIONS[state, ending]
    else:
        with pytest.raises(ValueError, match=f"a hold that is {state} cannot end by {ending}"):
            hold_after(state, ending)
