"""Texts for operators: what became of intents, closings and stops that fail, and chain heads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from quotas.enforcement.stop_problems import StopProblem
from quotas.iam.closing import StillRevoked
from quotas.ledger.chain_heads import ChainHead
from quotas.messages.catalogue.texts import Texts, render
from quotas.model.units import format_credits
from quotas.state.notices import IntentCode, IntentResult

POLICIES = {
    "narrowed": "narrowed {names}",
    "restored": "restored {names}",
    "complete": "{names} already had every rule",
    "gone": "{names} is gone: nothing to give back to",
}
"""What became of IAM policies, each named in its text."""


def result_text(result: IntentResult | None) -> str:
    """Why an intent is in its state; empty for an intent that was only decided or sent."""
    return "" if result is None else render(TEXTS, f"intent.{result.code}", result)


def policies_text(policies: Mapping[str, Sequence[str]]) -> str:
    """What became of policies, by what became of them."""
    return "; ".join(POLICIES[code].format(names=", ".join(n)) for code, n in policies.items())


def _release(f: IntentResult) -> str:
    found = "; ".join(filter(None, [f.error, policies_text(f.policies)]))
    return ": ".join(filter(None, [f"release-all by {f.actor}: {f.reason}", found]))


def _problem(f: StopProblem) -> str:
    return f"{f.server} of {f.startup} cannot be"


def _revoked(f: StillRevoked) -> str:
    why = f"the mode is {f.mode}" if f.mode != "enforce" else "there is no key for IAM"
    return (
        f"rules of {f.startup} stay revoked, because {why}: 'cohortd release-all' gives them back"
    )


def chain_head_text(program: str, chain_heads: Sequence[ChainHead]) -> tuple[str, str]:
    """Subject and text of the message that carries a day's heads."""
    days = sorted({chain_head.day for chain_head in chain_heads})
    lines = [
        f"{head.cohort}: {head.transfers} transfers, {format_credits(head.moved_ucr)} credits "
        f"moved, the newest is transfer {head.transfer_id}\n  {head.hash}"
        for head in chain_heads
    ]
    text = (
        f"The books of {program}, as they stood:\n\n"
        + "\n".join(lines)
        + "\n\nKeep this message. 'cohortd verify --chain-head FILE', where FILE has it, shows "
        "that nothing before these transfers was changed or taken away.\n"
    )
    return f"{program}: heads of the books, {', '.join(days)}", text


RESULTS: Mapping[IntentCode, str | Callable[[IntentResult], str]] = {
    IntentCode.SEEN: "seen {server_state}",
    IntentCode.STILL_ON: "still {server_state} {after_s} s after powerof",
    IntentCode.STILL_OFF: "still {server_state} after poweron",
    IntentCode.SERVER_GONE: "the server is gone",
    IntentCode.NOT_SENT: "not sent in time",
    IntentCode.ZONE_UNKNOWN: "a zone of its pool could not be read",
    IntentCode.STOCK_UNREAD: "the provider's stock could not be read",
    IntentCode.STOPS_WAIT: "an operator delays all stops",
    IntentCode.EXTENDED: "its notice has a later deadline",
    IntentCode.SERVER_ENDED: "its notice ended before",
    IntentCode.CLOSE_INSTEAD: "the startup is to be closed instead",
    IntentCode.REOPEN_INSTEAD: "the startup is to be reopened instead",
    IntentCode.REFUSED: lambda f: f.error,
    IntentCode.UNSURE: "unsure: {error}",
    IntentCode.POLICIES: lambda f: policies_text(f.policies) or "nothing to change",
    IntentCode.RELEASE: _release,
    IntentCode.RELEASE_INTERRUPTED: lambda f: f"{_release(f)}: release-all was interrupted",
}
"""Why an intent is in its state."""
TEXTS: Texts = {
    **{f"intent.{code}": text for code, text in RESULTS.items()},
    "problem.restart": lambda f: f"{_problem(f)} powered on again yet: {result_text(f.last)}",
    "problem.state": lambda f: f"{_problem(f)} stopped: its state {f.state} allows no poweroff",
    "problem.stop": lambda f: (
        f"{_problem(f)} stopped: tried {f.tries} times: {result_text(f.last)}"
    ),
    "closing.failing": lambda f: (
        f"{f.startup} is still {f.state} after {f.failures} tries: {result_text(f.result)}"
    ),
    "closing.revoked": _revoked,
}
