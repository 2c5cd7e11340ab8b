"""How do the parts of a cycle become what the book is charged, and what is committed?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from quotas.book.cycle.commit import CycleResult
from quotas.book.cycle.state import BookState
from quotas.decisions.zones import with_open_zones
from quotas.enforcement.decide import DecideResult
from quotas.iam.closing import Closings
from quotas.ledger.posting import Posting, post_due
from quotas.ledger.repricing import with_differences
from quotas.messages.routing import chain_head_recipients, messages_for_changes
from quotas.metering.rating import split_by_rate
from quotas.metering.runs import Metered, meter
from quotas.model.observation import Sweep


def with_swept_zones(state: BookState) -> BookState:
    """The state, its program with every zone that is to be swept."""
    assert state.program is not None
    program = with_open_zones(state.program, state.runs, state.notices, state.intents)
    return replace(state, program=program)


def meter_runs(state: BookState, sweeps: Mapping[str, Sweep], read_s: int) -> Metered:
    """What ran, each run at its rate; the sweeps had been read at `read_s`."""
    assert state.program is not None
    program, catalogue = state.program, state.catalogue
    seen = meter(program, catalogue, state.runs, state.confirmed, sweeps.values(), read_s)
    return split_by_rate(program, catalogue, seen)


def post_charges(state: BookState, metered: Metered, now_s: int) -> Posting:
    """What is posted now, with the holds that the book has."""
    assert state.program is not None
    return post_due(state.program, state.grants, metered, now_s, state.holds)


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
