"""How much of a promised notice was missing, and when nothing was."""

from __future__ import annotations

from typing import Any

import pytest

from quotas.reminders import shortfall
from tests.builders import a_notice, a_program, an_intent

POLICY = a_program().policy
GIVEN_S = 1_000
DUE_S = GIVEN_S + POLICY.minimum_notice_s


@pytest.mark.parametrize(
    ("left_s", "short_s"),
    [(2 * POLICY.minimum_notice_s, POLICY.minimum_notice_s), (60, 60), (0, None)],
    ids=["a long one", "the rest of an older one", "nothing was left"],
)
def test_what_no_channel_took_is_missing(left_s: int, short_s: int | None) -> None:
    """At most the minimum; of a notice that goes on with an older one, what was left of that."""
    due_s = GIVEN_S + left_s
    notice = a_notice(given_s=GIVEN_S, deadline_s=due_s)
    found = shortfall(notice, [], {1}, POLICY, due_s)
    assert (found and found["short_s"]) == short_s


@pytest.mark.parametrize(
    ("how", "short_s"),
    [
        ({"state": "sent", "sent_s": DUE_S - 60}, 60),
        ({"state": "confirmed", "sent_s": DUE_S - 60}, 60),
        ({"state": "failed", "sent_s": DUE_S - 60}, None),
        ({"state": "confirmed", "sent_s": DUE_S}, None),
        ({"state": "abandoned", "sent_s": None}, None),
    ],
    ids=str,
)
def test_a_stop_before_the_deadline_took_what_was_left(
    how: dict[str, Any], short_s: int | None
) -> None:
    """A stop that failed, or was never sent, took nothing."""
    notice = a_notice(given_s=GIVEN_S, deadline_s=DUE_S)
    found = shortfall(notice, [an_intent(**how)], (), POLICY, DUE_S)
    assert (found and found["short_s"]) == short_s
