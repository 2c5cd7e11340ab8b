"""The time to stop is the policy's until three stops of a flavor were measured."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotas.metering.stop_latency import SAMPLE_SIZE, MeasuredStop, longest_s, measured_s

DEFAULT_S = 300


def stops(*seconds: int, flavor: str = "h", error_s: int = 30) -> list[MeasuredStop]:
    """Stops of a flavor, newest first."""
    return [MeasuredStop(flavor, each, error_s) for each in seconds]


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        ((), {}),
        ((60, 90), {}),
        ((60, 90, 80), {"h": 113}),
        ((400, 90, 80), {"h": 500}),
        ((0, 0, 0), {"h": 0}),
        ((60, -1, 90), {}),
    ],
)
def test_the_longest_and_a_quarter_from_three_on(
    measured: tuple[int, ...], expected: dict[str, int]
) -> None:
    """Rounded up; less than three measure nothing, and a stop before it was sent is none."""
    assert measured_s(stops(*measured), DEFAULT_S) == expected


def test_only_the_last_twenty_count() -> None:
    """A slow stop of long ago is forgotten."""
    assert measured_s(stops(*[60] * SAMPLE_SIZE, 9_000), DEFAULT_S) == {"h": 75}


def test_a_stop_that_an_outage_hid_is_not_measured() -> None:
    """Its zone did not answer for longer than the default: nobody saw when it ended."""
    hidden = stops(9_000, error_s=DEFAULT_S + 1)
    assert measured_s([*hidden, *stops(60, 60, 60)], DEFAULT_S) == {"h": 75}


def test_the_longest_of_the_flavors_that_run() -> None:
    """A flavor not measured has the default; nothing running has it too."""
    measured = {"fast": 50, "slow": 400}
    assert longest_s(["fast"], measured, DEFAULT_S) == 50
    assert longest_s(["fast", "slow"], measured, DEFAULT_S) == 400
    assert longest_s(["fast", "new"], measured, DEFAULT_S) == DEFAULT_S
    assert longest_s([], measured, DEFAULT_S) == DEFAULT_S


@given(st.lists(st.integers(0, 3_600), min_size=3, max_size=20))
def test_no_measured_stop_took_longer(seconds: list[int]) -> None:
    """What is reserved covers each of the stops that it was measured from."""
    assert measured_s(stops(*seconds), DEFAULT_S)["h"] >= max(seconds)
