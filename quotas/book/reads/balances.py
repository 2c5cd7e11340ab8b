"""A startup's balance, read inside the transaction of an operator action."""

from __future__ import annotations

from sqlalchemy import Connection

from quotas.book.cycle.state import read_confirmed, read_grants, read_stops, read_unposted_runs
from quotas.book.reads.holds import read_holds
from quotas.ledger.balance import CYCLE_S, Balance, balance
from quotas.metering.stop_latency import reserves_s
from quotas.model.program import Program


def read_balance(connection: Connection, program: Program, startup: str, now_s: int) -> Balance:
    """Posted, accrued, held, reserve and available of one startup, as of the same instant."""
    runs, stops = read_unposted_runs(connection), read_stops(connection)
    _, reserved_s = reserves_s(program.policy, [startup], runs, stops, CYCLE_S)
    return balance(
        startup,
        now_s,
        read_grants(connection),
        runs,
        read_confirmed(connection),
        reserved_s[startup],
        read_holds(connection),
    )
