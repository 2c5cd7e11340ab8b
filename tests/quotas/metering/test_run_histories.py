"""Random histories of a server, against what random sweeps of it are charged (I3, I4)."""

from __future__ import annotations

from itertools import accumulate, pairwise

from hypothesis import given
from hypothesis import strategies as st

from quotas.metering.runs import SHORTEST_BOUNCE_S, Metered, UnconfirmedPeriod, meter
from quotas.model.observation import Server
from tests.builders import CATALOGUE, Z, a_program, a_server, seen


def seconds(result: Metered) -> int:
    """All that is charged or accrued, in seconds."""
    known_s = result.confirmed[Z]
    return sum(run.unposted(known_s).seconds for run in result.runs.values())


spells = st.lists(st.integers(SHORTEST_BOUNCE_S + 1, 4000), min_size=1, max_size=12)
sweep_gaps = st.lists(st.integers(1, 5000), min_size=1, max_size=15)


BORN_S = 1000


class Truth:
    """A server that was made at BORN_S and since then went on and off in turn."""

    def __init__(self, lengths: list[int], on_first: bool) -> None:
        self.on: list[tuple[int, int]] = []
        self.edges = [BORN_S]
        for length in lengths:
            self.edges.append(self.edges[-1] + length)
        for number, (start_s, end_s) in enumerate(pairwise([*self.edges, 10**6])):
            if (number % 2 == 0) == on_first:
                self.on.append((start_s, end_s))

    def shown(self, at_s: int) -> Server:
        """What the API shows: the state now, and when it last changed."""
        running = any(start_s <= at_s < end_s for start_s, end_s in self.on)
        modified_s = max(edge for edge in self.edges if edge <= at_s)
        state = "running" if running else "stopped"
        return a_server(state=state, modified_s=modified_s, created_s=BORN_S)

    def seconds(self, until_s: int) -> int:
        """Seconds it truly ran."""
        return sum(max(0, min(end_s, until_s) - start_s) for start_s, end_s in self.on)

    def unseen_s(self, sweeps: list[int]) -> int:
        """Seconds of spells that began and ended between two sweeps: nobody can know them."""
        return sum(
            b - a for a, b in self.on if not any(a <= at_s < b for at_s in sweeps) and b <= 10**5
        )


def sweep_all(truth: Truth, instants: list[int]) -> tuple[Metered, list[UnconfirmedPeriod]]:
    """Meter every sweep in turn."""
    result, unconfirmed_periods = Metered({}, (), (), {}), []
    for at_s in instants:
        sweeps = [seen(at_s, truth.shown(at_s))]
        result = meter(a_program(), CATALOGUE, result.runs.values(), result.confirmed, sweeps)
        unconfirmed_periods += result.unconfirmed_periods
    return result, unconfirmed_periods


@given(spells, st.booleans(), sweep_gaps)
def test_charged_seconds_are_the_truth_within_the_recorded_bounds(
    lengths: list[int], on_first: bool, gaps: list[int]
) -> None:
    """I4: |charged - true| <= recorded bounds + unconfirmed, over any history and any sweeps."""
    instants = list(accumulate(gaps, initial=BORN_S))
    truth = Truth(lengths, on_first)
    result, unconfirmed_periods = sweep_all(truth, instants)
    bounds_s = sum(run.start_error_s + run.end_error_s for run in result.runs.values())
    unconfirmed_s = sum(
        unconfirmed_period.period.seconds for unconfirmed_period in unconfirmed_periods
    )
    missing_s = truth.seconds(instants[-1]) - seconds(result)
    assert -bounds_s <= missing_s
    assert missing_s <= bounds_s + unconfirmed_s + truth.unseen_s(instants)


@given(spells, st.booleans(), sweep_gaps)
def test_runs_and_unconfirmed_are_disjoint(
    lengths: list[int], on_first: bool, gaps: list[int]
) -> None:
    """I3: no second of a server lies in two runs, nor in a run and an unconfirmed period."""
    instants = list(accumulate(gaps, initial=BORN_S))
    result, unconfirmed_periods = sweep_all(Truth(lengths, on_first), instants)
    known_s = result.confirmed[Z]
    taken = [run.unposted(known_s) for run in result.runs.values()]
    taken += [unconfirmed_period.period for unconfirmed_period in unconfirmed_periods]
    for before, after in pairwise(sorted(taken)):
        assert before.end_s <= after.start_s


@given(spells, st.booleans())
def test_sweeps_around_every_edge_meter_the_truth_exactly(
    lengths: list[int], on_first: bool
) -> None:
    """I4: where both edges of every spell are observed, charged seconds are the true ones."""
    truth = Truth(lengths, on_first)
    around = {e + d for e in truth.edges[1:] for d in (-20, 20)}
    instants = sorted({BORN_S, BORN_S + 20, *around})
    result, unconfirmed_periods = sweep_all(truth, instants)
    assert seconds(result) == truth.seconds(instants[-1])
    assert unconfirmed_periods == []
