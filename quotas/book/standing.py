"""What may an operator move now? A startup's balance, read inside a deed's transaction."""

from __future__ import annotations

from sqlalchemy import Connection

from quotas.balances import Balance, balance
from quotas.book.holds import read_holds
from quotas.book.state import read_confirmed, read_grants, read_owed, read_unposted
from quotas.program import Program


def read_balance(connection: Connection, program: Program, startup: str, now_s: int) -> Balance:
    """Posted, accrued, held, reserve and available of one startup, as of the same instant."""
    policy = program.policy
    return balance(
        startup,
        now_s,
        read_grants(connection),
        read_unposted(connection),
        read_confirmed(connection),
        policy.minimum_notice_s + policy.stop_latency_s,
        read_holds(connection),
        read_owed(connection).get(startup, 0),
    )
