"""The catalogue: every message id has a text, and every text has a message id that asks for it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

import quotas
from quotas.decisions.queue_position import WAITS_FOR
from quotas.decisions.record import all_kinds, facts_from, kind_name
from quotas.enforcement.stop_problems import StopProblem
from quotas.messages.catalogue import TEXTS, notice_text, reason_text, remedy_text, render
from quotas.messages.catalogue.mail import Mail
from quotas.messages.catalogue.remedies import CHANGED_BY, REMEDIES
from quotas.messages.catalogue.rules import BOUNDS
from quotas.messages.routing import BREACHED
from quotas.rules.registry import ALL_RULES
from quotas.state.facts import TypedMessage
from quotas.state.notices import IntentCode, IntentResult, NoticeState
from tests.builders import a_notice
from tests.quotas.decisions.test_explain import CASES, Inputs

SOURCES = [path.read_text() for path in Path(str(quotas.__file__)).parent.rglob("*.py")]
CHANGES = {"notice", "reminder", "extended", "snoozed", "stopping", "would-stop", BREACHED}
"""Kinds of messages beside the states that end a notice or announce one."""
NOT_MAILED = {NoticeState.OPEN, NoticeState.SHADOW, NoticeState.FINISHED, NoticeState.EXECUTING}


def asked_for() -> set[str]:
    """Every message id that the rules, kinds, intents, queue, alarms and mails ask for."""
    ids = {"nothing.restriction", "test.notice", "mail.test.subject"}
    ids |= {"mail.acknowledge", "mail.acknowledge-copy"}
    ids |= {"mail.copy", "mail.shadow-copy", f"mail.{BREACHED}.copy"}
    for rule in ALL_RULES:
        ids |= {f"{rule.name}.restriction"} if rule.restricts else set()
    ids |= all_kinds()
    ids |= {f"intent.{code}" for code in IntentCode}
    ids |= {f"position.{kind}" for kind in {*WAITS_FOR.values(), "capacity"}}
    ids |= {f"mail.{kind}.subject" for kind in {*CHANGES, *NoticeState} - NOT_MAILED}
    for source in SOURCES:
        ids |= set(re.findall(r'TypedMessage\(\s*"([a-z.-]+)"', source))
    return ids


def test_every_message_has_a_text() -> None:
    """No rule, kind, code, position or mail is without words."""
    assert asked_for() - TEXTS.keys() == set()


def test_every_text_is_asked_for() -> None:
    """A text that nothing asks for goes; remedies and closings of mails are optional."""
    optional = {f"mail.{kind}.closing" for kind in {*CHANGES, *NoticeState}}
    assert TEXTS.keys() - asked_for() - optional == set()
    assert REMEDIES.keys() | CHANGED_BY.keys() <= all_kinds()


def test_every_bound_of_a_share_is_something_to_wait_for() -> None:
    """The queue and the texts know the same bounds."""
    assert BOUNDS.keys() == WAITS_FOR.keys()


@pytest.mark.parametrize(("rule", "verb", "inputs"), CASES)
def test_every_kind_of_decision_reads_as_a_sentence(rule: str, verb: str, inputs: Inputs) -> None:
    """The facts of each case fill a text and a remedy; facts that lack one are said to be so."""
    assert " " in reason_text(rule, verb, inputs)
    assert " " in remedy_text(kind_name(rule, verb), facts_from(rule, verb, inputs))
    assert reason_text(rule, verb, {}) == "its facts are not complete"


FACTS = {
    "mail": Mail(a_notice(), "s1", "tomorrow"),
    "intent": IntentResult(code=IntentCode.SEEN, policies={"gone": ["p"]}, error="HTTP 403"),
    "problem": StopProblem("acme", "s1", "locked", 2, IntentResult(code=IntentCode.NOT_SENT)),
}


@pytest.mark.parametrize("id", [id for id in TEXTS if id.partition(".")[0] in FACTS])
def test_every_mail_intent_and_problem_has_the_facts_of_its_text(id: str) -> None:
    """No text names a fact that its dataclass lacks."""
    assert render(TypedMessage(id, FACTS[id.partition(".")[0]]))


@pytest.mark.parametrize(
    ("scratch_bytes", "outcome"),
    [
        (None, "A scratch disk, where it has one, is erased"),
        (0, "It has no scratch disk"),
        (3 * 10**12, "Its scratch disk of 3000 GB is erased"),
    ],
)
def test_a_notice_says_what_is_lost(scratch_bytes: int | None, outcome: str) -> None:
    """By the catalogue's word on the flavor; where it has none, whatever may be."""
    notice = a_notice()
    known = {} if scratch_bytes is None else {"scratch_bytes": scratch_bytes}
    text = notice_text(replace(notice, facts={**notice.facts, **known}))
    assert f"{outcome}; its slot goes back to Scaleway; volumes stay." in text


def test_a_notice_names_its_present_deadline() -> None:
    """After a snooze or a freeze the text has the deadline that counts, not the first one."""
    notice = a_notice()
    assert "will be powered off at 1970-01-01T00:30:00Z" in notice_text(notice)
    later = replace(notice, deadline_s=3600)
    assert "will be powered off at 1970-01-01T01:00:00Z" in notice_text(later)
    freeze = {**notice.facts, "was_due_s": 1800, "resumed_s": 2000}
    assert "will be powered off at 1970-01-01T01:00:00Z, not at" in notice_text(
        replace(later, facts=freeze)
    )
