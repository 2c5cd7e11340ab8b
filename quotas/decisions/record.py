"""Record: the one way to make a decision from facts, and to read its facts again."""

from __future__ import annotations

from typing import Any

from quotas.decisions.verbs import BY_VERB, KINDS, Closing, Kind
from quotas.rules.context import OPEN, Restriction
from quotas.rules.registry import RULES, restriction_from, restricts
from quotas.state.facts import FactsJson, from_json, to_json
from quotas.state.requests import Outcome as RequestOutcome
from quotas.state.requests import outcome_holds
from quotas.state.snapshot import Decision

CLOSINGS = {
    "close": True,
    "forbid": True,
    "reopen": False,
    "inherit": False,
    "permit": False,
}
"""Whether the restriction behind an action of a closing forbids starts."""


class NotConcludedError(ValueError):
    """The facts do not lead to the decision."""


def restriction_of(facts: Closing) -> Restriction | None:
    """The restriction that a closing's facts lead to; None where they lead to none."""
    return restriction_from(facts.by, facts.restriction)


def closing_holds(facts: Closing) -> bool:
    """Whether the restriction's level fits the action."""
    found = restriction_of(facts)
    return found is not None and CLOSINGS.get(facts.action) == found.level.forbids_starts


_KINDS = {
    **KINDS,
    **{name: Kind(rule.facts, rule.holds) for name, rule in RULES.items()},
    "request": Kind(RequestOutcome, outcome_holds),
    "closing": Kind(Closing, closing_holds),
}


def kind_name(rule: str, verb: str) -> str:
    """The name of a decision's kind: that of its verb where it has one, else its rule's."""
    return BY_VERB.get(verb, rule)


def all_kinds() -> frozenset[str]:
    """The name of every kind of decision."""
    return frozenset(_KINDS)


def facts_from(rule: str, verb: str, stored: FactsJson) -> Any:
    """The typed facts of a decision, from what it stores. Raises KeyError, ValueError."""
    kind = _KINDS[kind_name(rule, verb)]
    if kind.facts is not Closing:
        return from_json(kind.facts, stored)
    by = str(stored["by"])
    inner = OPEN.facts if by == OPEN.rule else from_json(restricts(by).facts, stored)
    return Closing(
        startup=str(stored["startup"]), action=str(stored["action"]), by=by, restriction=inner
    )


def holds(rule: str, verb: str, facts: Any) -> bool:
    """Whether the facts lead to a decision of that rule and verb."""
    return _KINDS[kind_name(rule, verb)].holds(facts)


def make_decision(of: tuple[str, str], rule: str, verb: str, episode: str, facts: Any) -> Decision:
    """The decision on a startup and server to which facts lead. Raises NotConcludedError."""
    if not holds(rule, verb, facts):
        raise NotConcludedError(f"{rule} does not {verb} {of} for {facts}")
    return Decision(*of, rule, verb, episode, to_json(facts))


def is_recomputed(decision: Decision) -> bool:
    """Whether the stored facts lead to the decision again."""
    try:
        facts = facts_from(decision.rule, decision.verb, decision.inputs)
        return holds(decision.rule, decision.verb, facts)
    except (KeyError, ValueError, TypeError):
        return False
