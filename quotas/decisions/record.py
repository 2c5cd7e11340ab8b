"""Record: the one way to make a decision from facts, and to read its facts again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quotas.decisions.verbs import BY_VERB, KINDS
from quotas.rules.context import OPEN
from quotas.rules.registry import RULES, restriction_from, restricts
from quotas.state.facts import DecisionFacts, FactsJson, from_json, to_json
from quotas.state.requests import Outcome as RequestOutcome
from quotas.state.snapshot import Decision

CLOSINGS = {"close": True, "forbid": True, "reopen": False, "inherit": False, "permit": False}
"""Whether the restriction behind an action of a closing forbids starts."""


class NotConcludedError(ValueError):
    """The facts do not lead to the decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing(DecisionFacts):
    """A startup that may start servers no more, or may again, and the restriction behind it."""

    startup: str
    action: str
    by: str
    restriction: Any

    def holds(self) -> bool:
        """Whether the level of the restriction fits the action."""
        found = restriction_from(self.by, self.restriction)
        return found is not None and CLOSINGS.get(self.action) == found.level.forbids_starts


_KINDS: Mapping[str, type[DecisionFacts]] = {
    **KINDS,
    **{name: rule.facts for name, rule in RULES.items()},
    "request": RequestOutcome,
    "closing": Closing,
}


def kind_name(rule: str, verb: str) -> str:
    """The name of a decision's kind: that of its verb where it has one, else its rule's."""
    kind = BY_VERB.get(verb, verb)
    return kind if kind in KINDS else rule


def all_kinds() -> frozenset[str]:
    """The name of every kind of decision."""
    return frozenset(_KINDS)


def facts_from(rule: str, verb: str, stored: FactsJson) -> Any:
    """The typed facts of a decision, from what it stores. Raises KeyError, ValueError."""
    kind = _KINDS[kind_name(rule, verb)]
    if kind is not Closing:
        return from_json(kind, stored)
    by = stored["by"]
    inner = OPEN.facts if by == OPEN.rule else from_json(restricts(str(by)).facts, stored)
    return from_json(Closing, {**stored, "restriction": inner})


def make_decision(of: tuple[str, str], rule: str, verb: str, episode: str, facts: Any) -> Decision:
    """The decision on a startup and server to which facts lead. Raises NotConcludedError."""
    if type(facts) is not _KINDS[kind_name(rule, verb)] or not facts.holds():
        raise NotConcludedError(f"{rule} does not {verb} {of} for {facts}")
    return Decision(*of, rule, verb, episode, to_json(facts))


def is_recomputed(decision: Decision) -> bool:
    """Whether the stored facts lead to the decision again."""
    try:
        return bool(facts_from(decision.rule, decision.verb, decision.inputs).holds())
    except (KeyError, ValueError, TypeError):
        return False
