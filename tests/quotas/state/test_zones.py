"""The swept zones: those of the program, and former ones with something open."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from quotas.metering.runs import Run
from quotas.state.notices import Intent, Notice
from quotas.state.zones import known_until_s, open_zones, with_zones
from tests.builders import Z, a_notice, a_program, a_run

FAR = "nl-ams-1"
POWEROFF = Intent(1, "s1", FAR, "running", 0, 300)


@pytest.mark.parametrize(
    ("runs", "notices", "intents", "is_swept"),
    [
        ((), (), (), False),
        ((a_run(zone=FAR),), (), (), True),
        ((a_run(zone=FAR, end_s=9),), (), (), False),
        ((a_run(zone=FAR, end_s=9, rate_ucr_per_h=None),), (), (), True),
        ((), (a_notice(zone=FAR),), (), True),
        ((), (a_notice("", zone=""),), (), False),
        ((), (), (POWEROFF,), True),
        ((), (), (replace(POWEROFF, state="failed"),), False),
        ((a_run(),), (a_notice(zone=Z),), (replace(POWEROFF, zone=Z),), False),
    ],
)
def test_a_zone_that_was_left_is_swept_while_something_is_open_there(
    runs: Iterable[Run], notices: Iterable[Notice], intents: Iterable[Intent], is_swept: bool
) -> None:
    """A run that is open or waits for its price, a live notice, a live intent: no more."""
    program = a_program()
    swept = with_zones(program, open_zones(runs, notices, intents)).zones
    assert swept == ((*program.zones, FAR) if is_swept else program.zones)


def test_a_zone_that_is_swept_no_more_does_not_hold_back_what_is_known() -> None:
    """Nor does one that never answered; before any did, nothing is known."""
    program = a_program()
    assert known_until_s(program, {Z: 2000, FAR: 1000}) == 2000
    assert known_until_s(with_zones(program, open_zones([a_run(zone=FAR)], (), ())), {FAR: 7}) == 7
    assert known_until_s(program, {}) is None
