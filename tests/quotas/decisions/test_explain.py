"""For every rule, the stored inputs lead to the stored reason, and nothing else does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quotas.decisions.record import (
    all_kinds,
    facts_from,
    is_recomputed,
    kind_name,
    make_decision,
)
from quotas.model.units import DAY_S, HOUR_S
from quotas.state.facts import FactsJson as Inputs
from quotas.state.snapshot import Decision

SERVER = {"startup": "acme", "server": "train"}
OVERRIDE = {"actor": "ann", "override_s": 60, "until_s": HOUR_S, "override_reason": "a fire drill"}
SPENT = {"posted_ucr": 5_000_000, "accrued_ucr": 1_000_000, "held_ucr": 500_000}
EMPTY = {
    **SPENT,
    "startup": "acme",
    "granted_ucr": 9_000_000,
    "reserve_ucr": 3_500_000,
    "burn_ucr_per_h": 9_000_000,
    "stopped_before": 0,
}
LENT = {"startup": "acme", "owner": "birch", "pool": "h100", "overuse_gpus": 4}
ABOVE = {
    "startup": "acme",
    "pool": "h100",
    "used_gpus": 8,
    "share_gpus": 4,
    "nominal_gpus": 4,
    "limited_by": "borrowing_limit",
}
PACE = {
    "spent_ucr": 40_000_000,
    "granted_ucr": 100_000_000,
    "starts_s": 0,
    "ends_s": 10 * DAY_S,
    "now_s": 2 * DAY_S,
    "curve": "flat",
    "pacing": "inform",
}
AHEAD = {"ahead_s": 2 * DAY_S, "spent_then_ucr": 40_000_000}
DAILY = {"reached_s": DAY_S, "today_ucr": 8_000_000, "daily_burn_ucr": 8_000_000}
ASKED = {"startup": "acme", "request": 7, "pool": "h100", "gpus": 4, "now_s": 2 * HOUR_S}
CLOSE = {"startup": "acme", "action": "close"}
REOPEN = {"startup": "acme", "action": "reopen"}
FULL = {"pool": "h100", "used_gpus": 8, "ceiling_gpus": 8, "limited_by": "policy"}
NOTICE = {"startup": "acme", "server": "train", "notice": 3, "deadline_s": HOUR_S}

REVOKED_SETS = {
    "startup": "acme",
    "actor": "token:tok-5f1c0a9b3d2e",
    "tranche": "g1/2",
    "amount_ucr": 5_000_000,
    "most_ucr": 6_000_000,
    "left_ucr": 7_000_000,
    "begins_s": DAY_S,
}

CASES: list[tuple[str, str, Inputs]] = [
    (
        "limit",
        "notify",
        {**SERVER, "pool": "h100", "used_gpus": 9, "limit_gpus": 8, "gpus": 1},
    ),
    ("credits", "stop", {"startup": "acme", "granted_ucr": 9_000_000, **EMPTY}),
    (
        "cohort-end",
        "notify",
        {"startup": "acme", "ends_s": DAY_S, "now_s": 23 * HOUR_S, "notice_s": 2 * HOUR_S},
    ),
    ("end", "announce", {"ends_s": DAY_S, "now_s": 3600}),
    ("membership", "notify", {"startup": "acme", "members": 0}),
    ("operator", "notify", {"startup": "acme", "level": "closed", "started_s": 90, **OVERRIDE}),
    ("operator", "notify", {"startup": "acme", "level": "stopped", "started_s": 9, **OVERRIDE}),
    ("standby", "notify", {**SERVER, "since_s": 0, "now_s": 1800, "standby_stop_after_s": 1800}),
    ("reclaim", "notify", {**LENT, "server": "train", "gpus": 2}),
    ("deferral", "announce", {**LENT, "obstacle": "shortage", **OVERRIDE}),
    ("deferral", "announce", {**LENT, "obstacle": "flavor"}),
    ("deferral", "announce", {**LENT, "obstacle": "stock", "stock": "shortage"}),
    (
        "runway",
        "announce",
        {"available_ucr": 7_000_000, "runway_s": 3600, "burn_ucr_per_h": 7_000_000},
    ),
    (
        "expiry",
        "announce",
        {
            "amount_ucr": 5_000_000,
            "grant": "g1",
            "at_s": DAY_S,
            "now_s": 3600,
            "burn_ucr_per_h": 1_000_000,
        },
    ),
    (
        "token",
        "announce",
        {"token": "tok-1", "name": "ci", "ends_s": DAY_S, "now_s": 3600},
    ),
    ("advance", "advance", REVOKED_SETS),
    ("overuse", "announce", ABOVE),
    ("overuse", "announce", {**ABOVE, "owner": "birch"}),
    ("pace", "announce", PACE),
    ("pace", "announce", {**PACE, **AHEAD}),
    ("pace", "announce", {**PACE, **AHEAD, "pacing": "borrow-no-more"}),
    ("pace", "announce", {**PACE, **DAILY}),
    ("request", "fulfil", {**ASKED, "outcome": "fulfilled", "used_gpus": 4}),
    ("request", "finish", {**ASKED, "outcome": "startup"}),
    ("request", "finish", {**ASKED, "outcome": "pool"}),
    ("request", "finish", {**ASKED, "outcome": "cohort", "ends_s": HOUR_S}),
    ("request", "finish", {**ASKED, "outcome": "over", "since_s": 3600, "length_s": 3600}),
    ("request", "finish", {**ASKED, "outcome": "unmet", "since_s": 3600, "length_s": 3600}),
    ("credits", "executed", {"server": "train", "state": "stopped"}),
    ("credits", "cancelled", {"server": "train", "state": "running", "ended_by": "resolved"}),
    (
        "limit",
        "cancelled",
        {"server": "a", "state": "running", "ended_by": "mode", "mode": "shadow", "was": "enforce"},
    ),
    ("limit", "executed", {"server": "train", "state": "stopped", "ended_by": "unwanted"}),
    ("limit", "defer", {"server": "train", "gpus": 8, "counted_gpus": 8, "most_gpus": 10}),
    ("limit", "restart", {**SERVER, "by": "undo", **OVERRIDE}),
    (
        "credits",
        "restart",
        {
            **SERVER,
            "by": "auto_resume",
            "available_ucr": 9_000_000,
            "rates_ucr_per_h": 3_000_000,
            "carry_s": 5400,
        },
    ),
    (
        "limit",
        "extend",
        {"server": "train", "was_due_s": 60, "resumed_s": 120, "deadline_s": 1920},
    ),
    ("closing", "close", {**CLOSE, "by": "credits", **EMPTY}),
    ("closing", "close", {**CLOSE, "by": "credits", **EMPTY, "stopped_before": 1}),
    ("closing", "close", {**CLOSE, "by": "operator", "level": "stopped", **OVERRIDE}),
    ("closing", "close", {**CLOSE, "by": "cohort-end", "ends_s": 90, "now_s": 80, "notice_s": 60}),
    ("closing", "close", {**CLOSE, "by": "membership", "members": 0}),
    ("closing", "reopen", {**REOPEN, "by": "nothing"}),
    ("closing", "reopen", {**REOPEN, "by": "limit", **FULL}),
    ("closing", "reopen", {**REOPEN, "by": "limit", **FULL, "used_gpus": 7, "step_gpus": 2}),
    ("closing", "reopen", {**REOPEN, "action": "inherit", "by": "nothing"}),
    ("closing", "reopen", {**REOPEN, "by": "pace", **PACE, **DAILY}),
    ("closing", "announce", {**CLOSE, "action": "forbid", "by": "credits", **EMPTY}),
    ("closing", "announce", {**CLOSE, "action": "permit", "by": "nothing"}),
    ("closing", "release", {"startup": "acme", "actor": "ann", "override_reason": "wrong prices"}),
    ("limit", "remind", {"left_s": 600}),
    ("limit", "acknowledge", {"actor": "ann", "notice": 3}),
    ("limit", "snooze", {"actor": "ann", "from_s": 60, "to_s": 120, "reason": "a demo"}),
    ("test", "test", {"startup": "acme", "actor": "ann"}),
    ("limit", "breach", {**NOTICE, "short_s": 1800}),
    (
        "limit",
        "breach",
        {**NOTICE, "sent_s": 3000, "opened_s": 60, "short_s": 600},
    ),
]
NAMES = [f"{kind_name(rule, verb)}-{number}" for number, (rule, verb, _) in enumerate(CASES)]


def made(rule: str, verb: str, inputs: Inputs) -> Decision:
    """The decision that the inputs lead to."""
    facts = facts_from(rule, verb, inputs)
    return make_decision(("acme", "s1"), rule, verb, "resolved", facts)


def forgeries(value: int | str) -> list[int | str]:
    """What somebody might write in the place of a value: a little off, or far."""
    if isinstance(value, str):
        return [f"{value}x", "stopped", "flat", "open"]
    return [value + 1, value - 1, value + 10**9, value - 10**9, 0, 1]


def test_the_table_has_every_rule() -> None:
    """A rule that is added is added here."""
    assert {kind_name(rule, verb) for rule, verb, _ in CASES} == all_kinds()


@pytest.mark.parametrize(("rule", "verb", "inputs"), CASES, ids=NAMES)
def test_a_decision_is_recomputed_from_what_it_stores(rule: str, verb: str, inputs: Inputs) -> None:
    """Promise 9, rule by rule: the stored facts lead to the decision again."""
    assert is_recomputed(made(rule, verb, inputs))


@pytest.mark.parametrize(("rule", "verb", "inputs"), CASES, ids=NAMES)
def test_no_input_is_a_sentence(rule: str, verb: str, inputs: Inputs) -> None:
    """Facts are amounts, instants, names and codes, beside what a person said."""
    said = {"override_reason", "reason"}
    texts = [v for k, v in made(rule, verb, inputs).inputs.items() if k not in said]
    assert not any(" " in text for text in texts if isinstance(text, str))


@pytest.mark.parametrize(("rule", "verb", "inputs"), CASES, ids=NAMES)
def test_a_forged_input_is_found_out(rule: str, verb: str, inputs: Inputs) -> None:
    """A figure of the condition, written over, leads elsewhere; the others are only named."""
    decision, kind = made(rule, verb, inputs), kind_name(rule, verb)
    for name, value in inputs.items():
        others = [other for other in forgeries(value) if other != value]
        forged = [replace(decision, inputs={**inputs, name: other}) for other in others]
        is_found = not all(is_recomputed(each) for each in forged)
        assert is_found or name in NAMED or (kind, name) in UNREAD, name


NAMED = {
    *("startup", "server", "pool", "request", "notice", "grant", "tranche", "owner", "gpus"),
    *("actor", "override_s", "override_reason", "until_s", "reason", "stock"),
    *("burn_ucr_per_h", "stopped_before", "nominal_gpus", "limited_by", "begins_s", "left_ucr"),
}
"""What is decided about, and figures that only the text names."""
UNREAD = {
    ("token", "token"),
    ("token", "name"),
    ("credits", "granted_ucr"),
    ("breach", "deadline_s"),
    ("operator", "level"),
    ("operator", "started_s"),
    *(("outcome", name) for name in ("state", "mode", "was")),
    *(("pace", name) for name in ("pacing", "spent_ucr", "granted_ucr", "ahead_s")),
    ("pace", "spent_then_ucr"),
    ("request", "now_s"),
    ("runway", "runway_s"),
    *(("closing", name) for name in (*EMPTY, *PACE)),
}
"""Figures that only another case of the same kind reads, or only the text."""
