"""Export of the books: each transfer as CSV, JSON or plain-text accounting lines.

The accounting text is what hledger reads. Every account keeps its name below a top-level
account that says its type, so that `hledger bal` shows a balance sheet.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from quotas.ledger.recorded import PostedTransfer
from quotas.model.text import clean, csv_cell
from quotas.model.units import UCR_PER_CREDIT, format_instant

TYPES = {
    "grant": "assets",
    "held": "assets",
    "usage": "expenses",
    "settled": "expenses",
    "expired": "expenses",
    "overdraft": "liabilities",
    "sponsor": "equity",
}
"""Top-level account of each kind of ours; a kind not named here is equity."""

COLUMNS = (
    *("transfer", "position", "account", "credits", "kind", "cohort", "startup"),
    *("effective", "recorded", "key", "actor", "reason", "detail", "hash"),
)
LEDGER_HEAD = """\
; Credits of cohortd, one transaction for each transfer, in the order of recording.
; The sign is that of the book: a grant is an asset of its startup, usage an expense.
commodity 1000.000000 credits

"""


def decimal(amount_ucr: int) -> str:
    """An amount with all six decimals."""
    whole, micro = divmod(abs(amount_ucr), UCR_PER_CREDIT)
    return f"{'-' if amount_ucr < 0 else ''}{whole}.{micro:06d}"


def ledger_account(account: str) -> str:
    """Our account's name in the plain-text export."""
    return f"{TYPES.get(account.partition(':')[0], 'equity')}:{account}"


def ledger(transfers: Iterable[PostedTransfer]) -> Iterator[str]:
    """The journal as plain-text accounting."""
    yield LEDGER_HEAD
    for posted in transfers:
        lines = [
            f"{format_instant(posted.at_s)[:10]} * ({posted.id}) {posted.kind} {posted.startup}",
            f"    ; key: {posted.key}",
            f"    ; effective: {format_instant(posted.at_s)}",
            f"    ; recorded: {format_instant(posted.recorded_s)}",
            f"    ; actor: {_one_line(posted.actor)}",
            f"    ; reason: {_one_line(posted.reason)}",
            f"    ; hash: {posted.hash}",
        ]
        for account, amount_ucr in posted.entries:
            lines.append(f"    {ledger_account(account)}  {decimal(amount_ucr)} credits")
        yield "\n".join(lines) + "\n\n"


def csv_lines(transfers: Iterable[PostedTransfer]) -> Iterator[str]:
    """The journal as CSV: one line for each entry, below one line of names."""
    rows = csv.DictWriter(_Echo(), COLUMNS, extrasaction="ignore", lineterminator="\n")
    yield rows.writeheader()
    for posted in transfers:
        of = {**as_json(posted), "detail": posted.detail}
        for position, entry in enumerate(of["entries"]):
            cells = {**of, **entry, "position": position}
            yield rows.writerow({name: csv_cell(value) for name, value in cells.items()})


class _Echo:
    """A file that keeps nothing: `writerow` returns the line that it would write."""

    def write(self, line: str) -> str:
        return line


def json_lines(transfers: Iterable[PostedTransfer]) -> Iterator[str]:
    """The journal as one JSON object a line."""
    for posted in transfers:
        yield json.dumps(as_json(posted), sort_keys=True, ensure_ascii=False) + "\n"


def as_json(posted: PostedTransfer) -> dict[str, Any]:
    """A transfer for a machine; amounts as decimal strings."""
    named = ("key", "kind", "cohort", "startup", "actor", "reason", "hash")
    return {
        "transfer": posted.id,
        **{name: getattr(posted, name) for name in named},
        "effective": format_instant(posted.at_s),
        "recorded": format_instant(posted.recorded_s),
        "detail": posted.details,
        "entries": [{"account": a, "credits": decimal(ucr)} for a, ucr in posted.entries],
    }


FORMATS: dict[str, Callable[[Iterable[PostedTransfer]], Iterator[str]]] = {
    "csv": csv_lines,
    "ledger": ledger,
    "json": json_lines,
}


def _one_line(text: str) -> str:
    return " ".join(clean(text).split())
