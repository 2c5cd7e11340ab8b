"""Routing of messages: channels, urgency, quiet hours and the digest's window."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from quotas.messages.render import render_message
from quotas.messages.routing import (
    PendingMessage,
    is_quiet,
    messages_for_changes,
    not_before_s,
    quiet_hours_end_s,
)
from quotas.model.program import Policy, Program
from quotas.state.facts import canonical_json
from quotas.state.notices import Notice
from tests.builders import a_notice, a_program, a_startup

PARIS = ZoneInfo("Europe/Paris")
CTO, CHAT, OPS = "mailto://cto@example.com", "slack://a/b/c", "mailto://ops@example.com"


def of_paris(**policy: Any) -> Program:
    """Acme with two channels, an operator, and quiet hours from ten to eight."""
    rules = Policy(**{"quiet_hours_s": (22 * 3600, 8 * 3600), **policy})
    acme = a_startup(contacts=(CTO, CHAT))
    return a_program(acme, policy=rules, operators=(OPS,), timezone="Europe/Paris")


def at(text: str) -> int:
    """A local instant of Paris."""
    return int(datetime.fromisoformat(text).replace(tzinfo=PARIS).timestamp())


def told(program: Program, before: Notice | None, after: Notice) -> list[tuple[str, str, str]]:
    """(kind, audience, recipient) of what one change makes."""
    found = messages_for_changes(program, [before] if before else [], [after], 0)
    return [(each.kind, each.audience, each.recipient) for each in found]


def rendered(pending_message: PendingMessage, now_s: int) -> tuple[str, str]:
    """Subject and text of a message about notice 7, queued at an instant and read back as JSON."""
    facts = json.loads(canonical_json(pending_message.facts(7)))
    return render_message(pending_message.kind, pending_message.audience, facts, now_s)


def test_a_notice_goes_to_every_channel_and_to_the_operators() -> None:
    """Enforce: each contact of the startup once, and a copy to each operator."""
    assert told(of_paris(), None, a_notice(id=None)) == [
        ("notice", "startup", CTO),
        ("notice", "startup", CHAT),
        ("notice", "operator", OPS),
    ]


def test_in_shadow_only_operators_hear() -> None:
    """Shadow tells the operators what would be, and the startup nothing."""
    notice = a_notice(id=None, mode="shadow")
    assert told(of_paris(), None, notice) == [("notice", "operator", OPS)]
    assert told(of_paris(), a_notice(mode="shadow"), a_notice(mode="shadow", state="shadow")) == [
        ("would-stop", "operator", OPS)
    ]


@pytest.mark.parametrize(
    ("after", "audiences", "kind"),
    [
        ({"reminded_s": 600}, ["startup", "startup"], "reminder-600"),
        ({"state": "executing"}, ["operator"], "stopping"),
        ({"deadline_s": 9000}, ["startup", "startup", "operator"], "extended"),
        ({"state": "executed"}, ["startup", "startup", "operator"], "executed"),
        ({"state": "cancelled"}, ["startup", "startup", "operator"], "cancelled"),
    ],
)
def test_each_change_is_told_to_those_it_concerns(
    after: dict[str, Any], audiences: list[str], kind: str
) -> None:
    """A reminder is the startup's, a stop in progress the operators', an end everybody's."""
    found = told(of_paris(), a_notice(), a_notice(**after))
    assert [each[1] for each in found] == audiences
    assert {each[0] for each in found} == {kind}


@pytest.mark.parametrize("before", ["deferred", "executing"])
def test_a_stop_that_was_due_and_has_a_notice_again_is_told_so(before: str) -> None:
    """Held by the guard or under way when a freeze began: after it the new deadline is told."""
    found = told(of_paris(), a_notice(state=before), a_notice(deadline_s=9000))
    assert [each[:2] for each in found] == [
        ("extended", "startup"),
        ("extended", "startup"),
        ("extended", "operator"),
    ]


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        ({}, {}, ["breached"]),
        ({"state": "executing"}, {"state": "executed"}, ["executed", "breached"]),
        ({}, {"state": "executing"}, ["stopping", "breached"]),
        ({}, {"reminded_s": 600}, ["reminder-600", "breached"]),
        ({"is_breached": True}, {"state": "executing"}, ["stopping"]),
        ({"is_breached": True}, {}, []),
    ],
)
def test_a_broken_promise_is_told_once_beside_all_else(
    before: dict[str, Any], after: dict[str, Any], kinds: list[str]
) -> None:
    """In the cycle that finds it, to the operators alone; what happens meanwhile is told too."""
    found = told(of_paris(), a_notice(**before), a_notice(is_breached=True, **after))
    assert list(dict.fromkeys(kind for kind, _, _ in found)) == kinds
    broken = [(audience, to) for kind, audience, to in found if kind == "breached"]
    assert broken == [("operator", OPS)] * kinds.count("breached")


def test_a_broken_promise_waits_for_no_morning() -> None:
    """Urgent, though its deadline lies days ahead, in the middle of quiet hours."""
    before = a_notice(deadline_s=at("2027-01-09T12:00"))
    now_s = at("2027-01-05T23:00")
    (pending_message,) = messages_for_changes(
        of_paris(), [before], [replace(before, is_breached=True)], now_s
    )
    assert (pending_message.is_urgent, pending_message.due_s) == (True, now_s)
    subject, text = rendered(pending_message, now_s)
    assert subject == "[acme] broken promise: name-s1 had less notice than was promised"
    assert "Notice 7 was not kept" in text and "'cohortd explain acme' shows which" in text
    assert "tell it in person" in text and "cohortd notice ack" not in text


def test_a_stop_that_is_held_is_not_said_to_need_a_word() -> None:
    """The guard lets it pass by itself in time: the letter promises no more than that."""
    pending_message = PendingMessage(
        a_notice(state="deferred"), "deferred", "startup", CTO, 0, True
    )
    _, text = rendered(pending_message, 0)
    assert (
        "until the stops of the last hour leave room for it, or an operator approves its stop"
        in text
    )


def test_a_startup_that_left_the_program_is_told_through_the_operator() -> None:
    """Nobody knows its contacts any more; the operators still hear."""
    assert told(of_paris(), None, a_notice(id=None, startup="gone")) == [
        ("notice", "operator", OPS)
    ]


@pytest.mark.parametrize(
    ("now", "deadline", "due"),
    [
        ("2027-01-05T23:00", "2027-01-06T07:59", "2027-01-05T23:00"),  # before they end: at once
        ("2027-01-05T23:00", "2027-01-06T08:01", "2027-01-06T08:00"),  # after: when they end
        ("2027-01-05T12:00", "2027-01-06T07:00", "2027-01-05T12:00"),  # due tonight: at once
        ("2027-01-05T12:00", "2027-01-09T12:00", "2027-01-05T12:15"),  # the digest's window
        ("2027-01-05T21:50", "2027-01-09T12:00", "2027-01-06T08:00"),  # it ends in quiet hours
        ("2027-03-27T23:30", "2027-04-01T12:00", "2027-03-28T08:00"),  # a night of 23 hours
        ("2027-10-30T23:30", "2027-11-09T12:00", "2027-10-31T08:00"),  # a night of 25 hours
    ],
)
def test_quiet_hours_hold_back_what_can_wait(now: str, deadline: str, due: str) -> None:
    """Local hours decide, on nights of 23 and 25 hours too; what is due in them is not held."""
    notice = a_notice(id=None, deadline_s=at(deadline))
    pending_messages = messages_for_changes(of_paris(), [], [notice], at(now))
    assert {pending_message.due_s for pending_message in pending_messages} == {at(due)}


def test_the_nights_of_the_time_change_have_their_own_length() -> None:
    """From 22:00 to 08:00 are nine hours in March and eleven in October."""
    program = of_paris()
    for day, hours in (("2027-03-27", 9), ("2027-10-30", 11), ("2027-06-01", 10)):
        begin_s = at(f"{day}T22:00")
        assert not is_quiet(program, begin_s - 1) and is_quiet(program, begin_s)
        assert quiet_hours_end_s(program, begin_s) - begin_s == hours * 3600
        assert is_quiet(program, begin_s + hours * 3600 - 1)
        assert not is_quiet(program, begin_s + hours * 3600)


def test_without_quiet_hours_a_day_is_what_cannot_wait() -> None:
    """No quiet hours: what is due within a day is urgent, the rest waits for the digest."""
    program = of_paris(quiet_hours_s=())
    assert quiet_hours_end_s(program, 1000) == 1000 + 86_400
    assert not_before_s(program, 1000) == 1900


def test_a_letter_says_what_when_why_and_what_would_avoid_it() -> None:
    """Local time and UTC, the server, the notice's own text with its figures, the way out."""
    notice = a_notice(deadline_s=at("2027-01-05T10:00"), rule="limit")
    pending_message = PendingMessage(notice, "notice", "startup", CTO, 0, True, "Europe/Paris")
    subject, text = rendered(pending_message, at("2027-01-05T09:30"))
    assert subject == "[acme] name-s1 stops Tue 5 Jan 2027 10:00 CET"
    for part in ("2027-01-05T09:00:00Z, in 00:30:00", "Server: name-s1 (s1) in fr-par-2"):
        assert part in text
    assert (
        "acme uses 16 GPUs in h100, its limit is 8" in text
        and "by its limit in the program file" in text
    )
    assert "cohortctl notices ack 7" in text and "operator's copy" not in text
    _, copy = rendered(replace(pending_message, audience="operator"), 0)
    assert "cohortd notice ack 7" in copy and "operator's copy" in copy
