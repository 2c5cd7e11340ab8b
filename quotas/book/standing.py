"""What may an operator move now? A startup's balance, read inside a deed's transaction."""

from __future__ import annotations

from sqlalchemy import Connection

from quotas.balances import CYCLE_S, Balance, balance
from quotas.book.holds import read_holds
from quotas.book.state import (
    read_confirmed,
    read_grants,
    read_owed,
    read_stops,
    read_unposted,
)
from quotas.latency import latencies_s
from quotas.program import Program


def read_balance(connection: Connection, program: Program, startup: str, now_s: int) -> Balance:
    """Posted, accrued, held, reserve and available of one startup, as of the same instant."""
    policy, runs = program.policy, read_unposted(connection)
    _, slowest_s = latencies_s(runs, read_stops(connection), policy.stop_latency_s)
    return balance(
        startup,
        now_s,
        read_grants(connection),
        runs,
        read_confirmed(connection),
        policy.minimum_notice_s + CYCLE_S + slowest_s.get(startup, policy.stop_latency_s),
        read_holds(connection),
        read_owed(connection).get(startup, 0),
    )
