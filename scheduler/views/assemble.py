"""Pure steps of a cycle: meter the runs, post their charges, assemble what is committed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from quotas.book.cycle.commit import CycleResult
from quotas.book.cycle.state import BookState
from quotas.enforcement.decide import DecideResult
from quotas.iam.closing import Closings
from quotas.ledger.posting import Posting
from quotas.ledger.repricing import with_differences
from quotas.ledger.transfers import overdraft_account, usage_account
from quotas.messages.routing import chain_head_recipients, messages_for_changes
from quotas.metering.rating import split_by_rate
from quotas.metering.runs import Metered, meter
from quotas.model.observation import Sweep


def meter_runs(state: BookState, sweeps: Mapping[str, Sweep], read_s: int) -> Metered:
    """The runs as the sweeps show them, each at its rate; the last sweep was read at `read_s`."""
    assert state.program is not None
    program, catalogue = state.program, state.catalogue
    seen = meter(program, catalogue, state.runs, state.confirmed, sweeps.values(), read_s)
    return split_by_rate(program, catalogue, seen)


def with_posting(state: BookState, metered: Metered, posting: Posting) -> BookState:
    """The state as the commit of this cycle will leave the books."""
    charged = dict(state.charged)
    overdraft = defaultdict(int, state.overdraft)
    for transfer in posting.transfers:
        for entry in transfer.entries:
            if entry.account == usage_account(transfer.startup):
                charged[transfer.startup] = charged.get(transfer.startup, 0) + entry.amount_ucr
            elif entry.account == overdraft_account(transfer.cohort):
                overdraft[transfer.cohort] -= entry.amount_ucr
    return replace(
        state,
        confirmed=dict(metered.confirmed),
        runs=tuple(posting.runs.values()),
        grants=tuple(posting.grants),
        holds=tuple(posting.holds),
        charged=charged,
        overdraft=dict(overdraft),
    )


def assemble_result(
    state: BookState,
    sweeps: Mapping[str, Sweep],
    metered: Metered,
    posting: Posting,
    decided: DecideResult,
    closings: Closings,
    now_s: int,
) -> CycleResult:
    """Everything that this cycle writes, in one transaction."""
    assert state.program is not None
    notices = (*decided.notices, *closings.notices)
    return CycleResult(
        sweeps=list(sweeps.values()),
        confirmed=dict(metered.confirmed),
        runs=posting.changed,
        unconfirmed_periods=metered.unconfirmed_periods,
        transfers=with_differences(posting.transfers, state.catalogue.prices),
        decisions=(*decided.decisions, *closings.decisions),
        notices=notices,
        intents=(*decided.intents, *closings.intents),
        mode=state.program.mode,
        requests=decided.requests,
        overuses=decided.overuses,
        pending_messages=messages_for_changes(state.program, state.notices, notices, now_s),
        chain_head_recipients=chain_head_recipients(state.program, now_s),
        newest_transfer=state.newest_transfer,
        price_version=state.catalogue.prices.newest,
    )
