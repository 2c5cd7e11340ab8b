"""Announcements of tokens of the API that end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quotas.enforcement.decide import decide
from quotas.messages.catalogue import notice_text
from quotas.messages.render import render_message
from quotas.messages.routing import OPERATOR, messages_for_changes
from quotas.model.tokens import Token
from quotas.model.units import DAY_S
from quotas.rules.expiry import TOKEN as RULE
from tests.builders import a_program, a_snapshot, a_startup
from tests.quotas.rules.rule_env import announcements

TOKEN = Token("tok-1", "trainer-0", "acme", ("node",), 0, 90 * DAY_S, None, "op")


def told_days(own: Token, days: int) -> list[int]:
    """The days of a token's life on which a cycle announces its end."""
    announced: set[tuple[str, str]] = set()
    told = []
    for day in range(days):
        tokens = (own,) if own.state(day * DAY_S) == "active" else ()
        snapshot = a_snapshot(
            day * DAY_S, a_program(), [], tokens=tokens, announced=frozenset(announced)
        )
        for found in announcements(RULE, snapshot):
            announced.add((found.startup, found.episode))
            told.append(day)
            assert (found.at_s, found.facts.token) == (own.ends_s, "tok-1")
    return told


@pytest.mark.parametrize(
    ("own", "days"),
    [
        (TOKEN, [76, 89]),
        (replace(TOKEN, revoked_s=40 * DAY_S), [26, 39]),
        (replace(TOKEN, created_s=80 * DAY_S), [89]),
        (replace(TOKEN, created_s=89 * DAY_S + 1), []),
        (replace(TOKEN, startup=""), [76, 89]),
    ],
    ids=["90 days", "rotated", "10 days", "less than a day", "an operators' token"],
)
def test_the_end_of_a_token_is_announced_once_for_each_lead(own: Token, days: list[int]) -> None:
    """14 days and 1 day ahead of the expiry, or of the end of a rotation's overlap."""
    assert told_days(own, 92) == days


def test_a_rotation_announces_the_earlier_end() -> None:
    """The end moved: who was told of the expiry is told of the new end."""
    now_s = 80 * DAY_S
    known = [("acme", f"token:tok-1:{90 * DAY_S}:{14 * DAY_S}")]
    rotated = replace(TOKEN, revoked_s=now_s + DAY_S)
    for own, count in ((TOKEN, 0), (rotated, 1)):
        snapshot = a_snapshot(now_s, a_program(), [], tokens=(own,), announced=frozenset(known))
        assert len(announcements(RULE, snapshot)) == count


@pytest.mark.parametrize(
    ("startup", "recipients", "subject"),
    [
        ("acme", ["mailto:acme@example.com", "mailto:ops@example.com"], "[acme] token: "),
        ("", ["mailto:ops@example.com"], "[operators] token: "),
    ],
)
def test_startup_and_operators_are_told(startup: str, recipients: list[str], subject: str) -> None:
    """The owner on its own channels, and the operators; of their own tokens the operators alone."""
    acme = a_startup(contacts=("mailto:acme@example.com",))
    program = a_program(acme, operators=("mailto:ops@example.com",))
    now_s = 76 * DAY_S
    snapshot = a_snapshot(now_s, program, [], tokens=(replace(TOKEN, startup=startup),))
    told = [each for each in decide(snapshot).notices if each.rule == "token"]
    sent = messages_for_changes(program, (), told, now_s)
    assert [each.recipient for each in sent] == recipients
    assert notice_text(sent[0].notice) == (
        "the token trainer-0 (tok-1) of the API ends at 1970-04-01T00:00:00Z, in 14 d 00:00:00; "
        "from then on it is refused"
    )
    title, text = render_message("announced", OPERATOR, sent[-1].facts(7), now_s)
    assert title.startswith(subject)
    assert ("Startup: acme" in text) == (startup == "acme")
