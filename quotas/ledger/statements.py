"""The statement of a month: opening balance, every line, closing balance, to the ucr.

A month is a UTC calendar month. An entry belongs to the month in which it takes effect; if that
month is closed, the entry is a late line of the open month. So each entry is in one statement,
opening plus lines is closing, and the closing of a month is the opening of the next.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from quotas.ledger.recorded import USAGE, PostedTransfer, credits_ucr
from quotas.model.units import format_credits, format_instant, month_start_s

COLUMNS = (
    *("startup", "month", "kind", "at", "until", "server", "flavor", "gpus", "seconds"),
    *("rate_per_hour", "cost", "overdraft", "amount", "late", "by", "reason", "key"),
)
FIRST = "0" * 64
"""`carried_from` of the first statement of a startup."""


def month_name(instant_s: int) -> str:
    """The UTC month of an instant: "2027-01"."""
    return format_instant(instant_s)[:7]


def month_s(name: str) -> int:
    """First instant of a UTC month such as "2027-01". Raises ValueError."""
    moment = datetime.strptime(name, "%Y-%m").replace(tzinfo=UTC)
    if f"{moment:%Y-%m}" != name:
        raise ValueError(f"{name!r} is not a month such as 2027-01")
    return int(moment.timestamp())


class Effects:
    """The instants at which transfers take effect; transfers are given in the book's order.

    A charge takes effect when its seconds ran, a grant when it may be spent. An entry that moves a
    later grant takes effect with that grant, so the void of a grant in tranches has several
    instants.
    """

    def __init__(self) -> None:
        self._effective: dict[str, int] = {}

    def of(
        self, posted: PostedTransfer, detail: Mapping[str, Any]
    ) -> list[tuple[int, PostedTransfer]]:
        """The instants at which a transfer takes effect, each with the entries that do then."""
        at_s = posted.at_s
        if posted.kind == "charge":
            return [(int(detail["start_s"]), posted)]
        if posted.kind == "grant":
            self._effective |= {account: at_s for account, ucr in posted.entries if ucr > 0}
        parts: dict[int, list[tuple[str, int]]] = {}
        for account, ucr in posted.entries:
            effect_s = max(at_s, self._effective.get(account, at_s))
            parts.setdefault(effect_s, []).append((account, ucr))
        return [(s, posted._replace(entries=tuple(own))) for s, own in sorted(parts.items())]


@dataclass(slots=True)
class _Ran:
    """Charges of one run at one rate, added up."""

    detail: Mapping[str, Any]
    from_s: int
    to_s: int
    charges: int = 0
    seconds: int = 0
    amount_ucr: int = 0
    cost_ucr: int = 0


@dataclass(slots=True)
class Tally:
    """The lines of one startup's month, as its transfers are added in the book's order."""

    startup: str
    start_s: int
    amount_ucr: int = 0
    charged_ucr: int = 0
    _runs: dict[tuple[str, int, bool], _Ran] = field(default_factory=dict)
    _others: list[dict[str, Any]] = field(default_factory=list)

    def add(self, posted: PostedTransfer, detail: Mapping[str, Any], effect_s: int) -> None:
        """Count a transfer, or the part of one, that takes effect at `effect_s`."""
        amount = credits_ucr(self.startup, posted.entries)
        cost = sum(ucr for a, ucr in posted.entries if a == f"{USAGE}:{self.startup}")
        self.amount_ucr += amount
        self.charged_ucr += cost
        late = effect_s < self.start_s
        if posted.kind == "charge":
            self._charge(detail, amount, cost, late)
        else:
            self._others.append(_line(posted, effect_s, amount, cost, late))

    def _charge(
        self, detail: Mapping[str, Any], amount_ucr: int, cost_ucr: int, late: bool
    ) -> None:
        start_s, end_s = detail["start_s"], detail["end_s"]
        key = (detail["run"], detail["rate_ucr_per_h"], late)
        ran = self._runs.setdefault(key, _Ran(detail, start_s, end_s))
        ran.from_s, ran.to_s = min(ran.from_s, start_s), max(ran.to_s, end_s)
        ran.charges += 1
        ran.seconds += end_s - start_s
        ran.amount_ucr += amount_ucr
        ran.cost_ucr += cost_ucr

    def lines(self) -> list[dict[str, Any]]:
        """Every line: first the events, then the cost of each run."""
        runs = sorted(self._runs.items(), key=lambda item: (item[1].from_s, item[0]))
        return self._others + [_run_line(ran, late) for (_, _, late), ran in runs]


def _line(
    posted: PostedTransfer, effect_s: int, amount_ucr: int, cost_ucr: int, late: bool
) -> dict[str, Any]:
    return {
        "kind": posted.kind,
        "at": format_instant(effect_s),
        "recorded": format_instant(posted.recorded_s),
        "amount": format_credits(amount_ucr),
        "overdraft": format_credits(cost_ucr + amount_ucr if cost_ucr else 0),
        "late": late,
        "by": posted.actor,
        "reason": posted.reason,
        "key": posted.key,
    }


def _run_line(ran: _Ran, late: bool) -> dict[str, Any]:
    detail = ran.detail
    return {
        "kind": "charge",
        "at": format_instant(ran.from_s),
        "until": format_instant(ran.to_s),
        "server": detail["server"],
        "run": detail["run"],
        "flavor": detail["flavor"],
        "gpus": detail["gpus"],
        "seconds": ran.seconds,
        "rate_per_hour": format_credits(detail["rate_ucr_per_h"]),
        "charges": ran.charges,
        "cost": format_credits(ran.cost_ucr),
        "amount": format_credits(ran.amount_ucr),
        "overdraft": format_credits(ran.cost_ucr + ran.amount_ucr),
        "late": late,
    }


@dataclass(frozen=True, slots=True)
class Statement:
    """A startup's month, of the transfers to `through_id`; `closed_s` is None while it is open.

    `carried_from` is the hash of the statement before it, so that closed ones form a chain.
    """

    startup: str
    month: str
    opening_ucr: int
    closing_ucr: int
    charged_ucr: int
    lines: tuple[Mapping[str, Any], ...]
    through_id: int
    carried_from: str
    closed_s: int | None = None

    def as_json(self) -> dict[str, Any]:
        """The hashed body of a closed statement; amounts are decimal strings."""
        return {
            "startup": self.startup,
            "month": self.month,
            "opening": format_credits(self.opening_ucr),
            "closing": format_credits(self.closing_ucr),
            "charged": format_credits(self.charged_ucr),
            "lines": list(self.lines),
            "transfers": self.through_id,
            "carried_from": self.carried_from,
            "closed": None if self.closed_s is None else format_instant(self.closed_s),
        }


def statement_of(
    tally: Tally, opening_ucr: int, through_id: int, carried_from: str, closed_s: int | None
) -> Statement:
    """The statement of a tally."""
    month, lines = month_name(tally.start_s), tuple(tally.lines())
    sums = (opening_ucr, opening_ucr + tally.amount_ucr, tally.charged_ucr)
    return Statement(tally.startup, month, *sums, lines, through_id, carried_from, closed_s)


def digest(body: str) -> str:
    """Hash of a statement's canonical body."""
    return hashlib.sha256(body.encode()).hexdigest()


def months(first_s: int, until_s: int) -> Iterable[int]:
    """First instants of the UTC months from that of `first_s` to before `until_s`."""
    start_s = month_start_s(first_s)
    while start_s < until_s:
        yield start_s
        start_s = month_start_s(start_s, 1)


def csv_text(found: Mapping[str, Any]) -> str:
    """The lines between an opening and a closing one: their amounts sum to the closing."""
    of = {"startup": found["startup"], "month": found["month"]}
    text = io.StringIO()
    rows = csv.DictWriter(text, COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
    rows.writeheader()
    rows.writerow({**of, "kind": "opening", "amount": found["opening"]})
    rows.writerows({**of, **line} for line in found["lines"])
    rows.writerow({**of, "kind": "closing", "amount": found["closing"]})
    return text.getvalue()
