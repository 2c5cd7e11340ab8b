"""The daemon's division: what credits can pay for is a limit beside the policy's own."""

from __future__ import annotations

import pytest

from quotas.ledger.balance import balance
from quotas.metering.runs import Catalogue
from quotas.model.program import Policy
from quotas.shares import allocation
from quotas.shares.allocation import Share, divide
from quotas.shares.engine import Problem, Solution, solve
from tests.builders import FLAVOR, RATE, a_balance_of, a_program, a_snapshot, a_startup

HOUR_S = 3_600
KEY = ("acme", "h100")


def shared(credits_ucr: int, runtime_s: int, usage: int = 0, requested: int = 40) -> Share:
    """Acme's share of 40 GPUs with so many credits, where it asks for all of them."""
    policy = Policy(minimum_runtime_s=runtime_s)
    program = a_program(a_startup(flavors={"h100": (FLAVOR,)}), policy=policy)
    catalogue = Catalogue(gpus={FLAVOR: 1}, rates_ucr_per_h={FLAVOR: RATE})
    grant = a_balance_of(left_ucr=credits_ucr, granted_ucr=credits_ucr)
    own = balance("acme", 0, [grant], [], {}, 0)
    snapshot = a_snapshot(0, program, (), catalogue=catalogue, balances={"acme": own})
    (share,) = divide(snapshot, {KEY: usage}, {KEY: requested}, {}, {})
    return share


@pytest.mark.parametrize(
    ("hours", "runtime_s", "gpus"),
    [(8, HOUR_S, 8), (8, 2 * HOUR_S, 4), (8, HOUR_S // 2, 16), (7, 2 * HOUR_S, 3), (0, HOUR_S, 0)],
)
def test_credits_bound_the_share_by_the_minimum_runtime(
    hours: int, runtime_s: int, gpus: int
) -> None:
    """Nobody is given GPUs that its credits could not run for the policy's minimum runtime."""
    share = shared(hours * RATE, runtime_s)
    assert (share.share, share.limited_by) == (gpus, "credits")
    assert "credits limit" in share.reason


def test_what_runs_is_not_the_credits_limits_business() -> None:
    """Running servers are the level's matter: their GPUs stay in the share without a credit."""
    assert shared(0, HOUR_S, usage=5).share == 5


def test_without_a_minimum_runtime_a_second_has_to_be_paid() -> None:
    """A minimum runtime of nothing bounds by one second, and divides by no zero."""
    assert shared(8 * RATE, 0).share == 40
    assert shared(0, 0).share == 0


def test_credits_beyond_a_pool_are_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credits for more GPUs than there are bind nothing, and their burning leaves the problem."""
    asked_of_shares: list[Problem] = []

    def noted(problem: Problem) -> Solution:
        asked_of_shares.append(problem)
        return solve(problem)

    monkeypatch.setattr(allocation, "solve", noted)
    one, other = (shared(gpus * RATE, HOUR_S, requested=60) for gpus in (1_000, 900_000))
    assert one == other
    assert (one.share, one.ceiling, one.limited_by) == (40, 40, "capacity")
    assert asked_of_shares[0] == asked_of_shares[1]
