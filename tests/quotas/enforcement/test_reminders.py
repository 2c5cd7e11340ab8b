"""Reminders, and how much of a notice was missing."""

from __future__ import annotations

from typing import Any

import pytest

from quotas.enforcement.reminders import notice_shortfall
from tests.builders import a_notice, an_intent

GIVEN_S = 1_000
DUE_S = GIVEN_S + 1800


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
    notice = a_notice(opened_s=GIVEN_S, deadline_s=DUE_S)
    found = notice_shortfall(notice, [an_intent(**how)], (), 1800, DUE_S)
    assert (found and found.short_s) == short_s
