"""I1-I3, I5, I6, I8, I14, I18, I19: the books of a play, judged from their rows alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from .evidence import Evidence, Row

HOUR_S = 3600
DAY_S = 86_400
NEVER_BELOW_ZERO = ("grant:", "held:", "usage:", "settled:", "expired:")


def books(found: Evidence) -> Iterator[str]:
    """Every fault of the ledger, one sentence each."""
    yield from _sums(found)
    yield from _prefixes(found)
    yield from _keys(found)
    yield from _runs(found)
    yield from _grants(found)


def charges_by(found: Evidence, name: str) -> dict[str, list[Row]]:
    """The details of every charge, with its cost and position, by server or run."""
    by: dict[str, list[Row]] = defaultdict(list)
    for row in found.transfers:
        if row["kind"] == "charge":
            cost = sum(ucr for account, ucr in row["entries"] if account.startswith("usage:"))
            drawn = {a: -ucr for a, ucr in row["entries"] if ucr < 0}
            by[row["detail"][name]].append(
                {**row["detail"], "id": row["id"], "cost": cost, "drawn": drawn, "row": row}
            )
    return by


def _sums(found: Evidence) -> Iterator[str]:
    """I1, I2, I19: each transfer sums to zero, balances are sums, and all fit in 64 bits."""
    sums: dict[str, int] = defaultdict(int)
    for row in found.transfers:
        found.judged["I1"] += 1
        found.judged["I19"] += len(row["entries"])
        if sum(ucr for _, ucr in row["entries"]):
            yield f"I1 transfer {row['id']} does not sum to zero"
        for account, ucr in row["entries"]:
            sums[account] += ucr
            if not isinstance(ucr, int) or abs(ucr) >= 2**63:
                yield f"I19 transfer {row['id']} moves {ucr!r}"
    found.judged["I2"] += len(sums)
    if {k: v for k, v in found.balances.items() if v} != {k: v for k, v in sums.items() if v}:
        yield "I2 balances are not the sums of their entries"


def _prefixes(found: Evidence) -> Iterator[str]:
    """I8: no grant, hold or usage account is ever below zero."""
    stands: dict[str, int] = defaultdict(int)
    for row in found.transfers:
        for account, ucr in row["entries"]:
            stands[account] += ucr
            if not account.startswith(NEVER_BELOW_ZERO):
                continue
            found.judged["I8"] += 1
            if stands[account] < 0:
                yield f"I8 {account} is overdrawn by transfer {row['id']}"
                stands[account] = 0


def _keys(found: Evidence) -> Iterator[str]:
    """I6, I14: keys are unique, epochs do not fall, and a cycle posts under one epoch."""
    keys = [row["key"] for row in found.transfers]
    found.judged["I6"] += len(keys)
    if len(keys) != len(set(keys)):
        yield "I6 a key was used twice"
    epochs = [row["epoch"] for row in found.transfers if row["actor"] == "cohortd"]
    found.judged["I14"] += len(epochs)
    if any(b < a for a, b in pairwise(epochs)) or 0 in epochs:
        yield "I14 an epoch fell"


def _runs(found: Evidence) -> Iterator[str]:
    """I3, I5: the charges of a run touch each other, and cost what the whole run costs."""
    runs = {row["id"]: row for row in found.runs}
    by_run = charges_by(found, "run")
    for id, charges in by_run.items():
        charges.sort(key=lambda c: c["start_s"])
        rate = charges[0]["rate_ucr_per_h"]
        first_s = charges[0]["run_start_s"]
        for one, two in pairwise(charges):
            if one["end_s"] < two["start_s"] and _cost(rate, first_s, one["end_s"], two["start_s"]):
                yield f"I3 run {id} has a gap at {one['end_s']}"
        for charge in charges:
            found.judged.update(("I3", "I5"))
            if not first_s <= charge["start_s"] < charge["end_s"]:
                yield f"I3 transfer {charge['id']} is no period of run {id}"
            if charge["cost"] != _cost(rate, first_s, charge["start_s"], charge["end_s"]):
                yield f"I5 transfer {charge['id']} costs {charge['cost']}"
        run = runs.get(id)
        if run is None:
            yield f"I3 run {id} is charged, and is no run"
        elif _cost(rate, first_s, charges[-1]["end_s"], run["posted_until_s"]):
            yield f"I3 run {id} is posted to {run['posted_until_s']}, charged to less"
    for charges in charges_by(found, "server").values():
        charges.sort(key=lambda c: (c["start_s"], c["end_s"]))
        for one, two in pairwise(charges):
            if two["start_s"] < one["end_s"]:
                yield f"I3 {one['server']} is charged twice at {two['start_s']}"


def _cost(rate: int, run_start_s: int, from_s: int, to_s: int) -> int:
    return rate * (to_s - run_start_s) // HOUR_S - rate * (from_s - run_start_s) // HOUR_S


def _grants(found: Evidence) -> Iterator[str]:
    """I18: a grant pays and expires in its time, and the one that ends first pays first."""
    terms = terms_of(found)
    for charges in charges_by(found, "run").values():
        for charge in charges:
            for account in charge["drawn"]:
                if account.startswith("grant:"):
                    found.judged["I18"] += 1
                    if account.split(":")[1] != charge["row"]["startup"]:
                        yield f"I18 transfer {charge['id']} draws on {account} of another"
                        continue
                    from_s, until_s = terms[account][:2]
                    if charge["start_s"] < from_s or charge["end_s"] > until_s:
                        yield f"I18 transfer {charge['id']} draws on {account} outside its time"
    for row in found.transfers:
        if row["kind"] == "expiry":
            account = row["entries"][0][0]
            found.judged["I18"] += 1
            if row["recorded_s"] + _behind(found) < terms[account][1]:
                yield f"I18 {account} expired early"
    yield from _covered(found, terms)


def held(found: Evidence) -> Iterator[str]:
    """I8: a hold ends once, in time, and gives the rest back to its grants."""
    placed: dict[str, Row] = {}
    ended: set[str] = set()
    for row in found.transfers:
        if row["kind"] == "hold":
            placed[row["detail"]["hold"]] = row
        if row["kind"] not in ("settle", "hold-void", "hold-expiry"):
            continue
        name = row["detail"]["hold"]
        found.judged["I8"] += 1
        if name not in placed or name in ended:
            yield f"I8 transfer {row['id']} ends hold {name}, which does not stand"
            continue
        ended.add(name)
        drawn = {account: -ucr for account, ucr in placed[name]["entries"] if ucr < 0}
        for account, ucr in row["entries"]:
            if account.startswith("grant:") and not 0 < ucr <= drawn.get(account, 0):
                yield f"I8 transfer {row['id']} gives {ucr} back to {account}"
    for name in placed.keys() - ended:
        if placed[name]["detail"]["expires_s"] < found.now_s - DAY_S // 2:
            yield f"I8 hold {name} never ended"


def is_overdraft(account: str) -> bool:
    """Whether an account is an overdraft, which no grant pays."""
    return account.startswith("overdraft:")


def leftovers(found: Evidence) -> Iterator[str]:
    """I18: a play ends after every grant, so nothing is left of any grant."""
    for account, (_, until_s, _) in terms_of(found).items():
        left_ucr = found.balances.get(account, 0)
        found.judged["I18"] += until_s < found.now_s
        if until_s < found.now_s and left_ucr:
            yield f"I18 {account} ended at {until_s}, and {left_ucr} are left of it"


def _covered(found: Evidence, terms: dict[str, tuple[int, int, int]]) -> Iterator[str]:
    """No charge goes to overdraft while a grant in force has credits left."""
    left: dict[str, int] = defaultdict(int)
    for row in found.transfers:
        if row["kind"] == "charge":
            own = {a: t for a, t in terms.items() if a.split(":")[1] == row["startup"]}
            start_s, end_s = row["detail"]["start_s"], row["detail"]["end_s"]
            usable = [
                (own[a][2], own[a][1], a)
                for a in own
                if own[a][0] <= start_s and end_s <= own[a][1] and left[a] > 0
            ]
            drawn = {a: -ucr for a, ucr in row["entries"] if ucr < 0}
            over = any(is_overdraft(a) for a in drawn)
            rest = [a for _, _, a in usable if left[a] > drawn.get(a, 0)]
            if over and rest:
                yield f"I18 transfer {row['id']} overdraws while {rest[0]} has credit"
            first = min(usable)[:2] if usable else None
            for account in drawn:
                if (
                    account in own
                    and rest
                    and own[account][1] > first[1]
                    and (
                        own[account][2] >= first[0]
                        and left[min(usable)[2]] > drawn.get(min(usable)[2], 0)
                    )
                ):
                    yield f"I18 transfer {row['id']} draws on {account} out of order"
        for account, ucr in row["entries"]:
            left[account] += ucr


def terms_of(found: Evidence) -> dict[str, tuple[int, int, int]]:
    """Start, end and priority of each grant, from the script if the script has them."""
    terms, waiting = {}, {}
    for _, program in found.programs:
        for startup in program.startups():
            for g in startup.grants:
                account = f"grant:{startup.name}:{g.id}"
                for part, (from_s, until_s) in _parts(g).items():
                    if from_s is None:
                        waiting[f"{account}{part}"] = (until_s, g.priority)
                    else:
                        terms[f"{account}{part}"] = (from_s, until_s, g.priority)
    for row in found.transfers:
        account = row["entries"][1][0]
        if row["kind"] == "grant" and account in waiting:
            terms[account] = (row["at_s"], *waiting[account])
        if row["kind"] == "grant" and account not in terms:
            days = found.script.days_of(account.rpartition(":")[2])
            until_s = min(row["at_s"] + days * DAY_S, found.script.end_s)
            terms[account] = (row["at_s"], until_s, 0)
    return {**found.other_terms, **terms}


def _parts(grant: Any) -> dict[str, tuple[int | None, int]]:
    """The tranches of a grant by the end of their account's name, with their instants.

    None means from the confirmation of a milestone on.
    """
    if not grant.tranches:
        return {"": (grant.effective_s, grant.expires_s)}
    starts = [tranche.effective_s for tranche in grant.tranches]
    lasting = [grant.expires_s] * len(starts)
    ends = lasting if grant.rollover is None else [*starts[1:], grant.expires_s]
    return {f"/{n}": span for n, span in enumerate(zip(starts, ends, strict=True), 1)}


def _behind(found: Evidence) -> int:
    """How far the daemon's clock may ever have been behind."""
    return max([0, *(-offset for _, offset in found.offsets)])
