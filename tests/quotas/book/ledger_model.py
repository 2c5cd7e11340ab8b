"""A model of the ledger in dictionaries and fractions, as kept by hand.

Nothing here comes from `quotas`. The model learns what people asked for and what really ran,
and says which transfers must appear. It recomputes the transfers that a cycle wrote one by one.
"""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from math import ceil, floor
from typing import Any

from .ledger_model_parts import INT64, Charged, CommandResult, Held, Lot, Side, Stretch, cost

Written = tuple[str, list[Side]]
"""The kind of a transfer, and its entries in order."""
FALLS_BELOW_ZERO = ("sponsor:", "overdraft:", "price-difference:", "provider:")


class Model:
    """What every account must have. `reserve_s` is what an orderly stop takes."""

    def __init__(self, cohort: str, reserve_s: int) -> None:
        self.cohort, self.reserve_s = cohort, reserve_s
        self.accounts: dict[str, int] = defaultdict(int)
        self.lots: dict[str, Lot] = {}
        self.ran: dict[str, CommandResult] = {}
        self.charges: dict[str, Charged] = {}
        self.steps: list[tuple[int, int]] = []
        self.paid: list[tuple[int, int]] = []
        self.voided: set[str] = set()
        self.holds: dict[str, Held] = {}
        self.rolled: set[str] = set()
        self.known_s = 0
        self.count = 0

    def usable(self, startup: str, from_s: int, to_s: int) -> list[Lot]:
        """The grants that may be drawn on for these seconds, the first to burn first."""
        found = [
            lot
            for lot in self.lots.values()
            if lot.startup == startup
            and self.accounts[lot.account] > 0
            and lot.from_s <= from_s
            and to_s <= lot.to_s
        ]
        return sorted(found, key=lambda lot: (lot.priority, lot.to_s, lot.order, lot.id))

    def drawn(self, lots: list[Lot], amount: int) -> list[Side]:
        """An amount, taken from grants in turn; what they lack is not in it."""
        found = []
        for lot in lots:
            part = min(amount, self.accounts[lot.account])
            if part:
                found.append((lot.account, part))
            amount -= part
        return found

    def available(self, startup: str, now_s: int) -> int:
        """What a startup may give away or set aside."""
        posted = sum(self.accounts[x.account] for x in self.usable(startup, now_s, now_s + 1))
        mine = [ran for ran in self.ran.values() if ran.startup == startup]
        accrued = sum(ran.cost(ran.charged_s, ran.known_s) for ran in mine)
        burn = sum(ran.rate for ran in mine if ran.is_on)
        return posted - accrued - ceil(Fraction(burn * self.reserve_s, 3600))

    # What a person asks for: the transfers it must write, or None where it is refused.

    def grant(self, startup: str, amount: int, lot: Lot) -> list[Written]:
        """A grant is credited by the sponsor."""
        self.lots[lot.account] = lot
        return [("grant", [(f"sponsor:{self.cohort}", -amount), (lot.account, amount)])]

    def void(self, startup: str, named: str) -> list[Written] | None:
        """What is left of a grant and its tranches, or of a tranche and its advances, goes back."""
        inner = f"{named}." if "/" in named else f"{named}/"
        parts = [
            lot.account
            for lot in self.lots.values()
            if lot.startup == startup and (lot.id == named or lot.id.startswith(inner))
        ]
        sides = [(account, -self.accounts[account]) for account in parts if self.accounts[account]]
        total = -sum(ucr for _, ucr in sides)
        self.voided |= {named} if sides else set()
        return [("void", [*sides, (f"sponsor:{self.cohort}", total)])] if sides else None

    def milestone(self, startup: str, part: str, amount: int, now_s: int, to_s: int) -> Any:
        """A milestone's tranche is credited once, while its grant is in force and not voided."""
        lot = Lot(startup, part, 0, now_s, to_s, len(self.lots))
        if now_s >= to_s or part.partition("/")[0] in self.voided or lot.account in self.lots:
            return None
        return self.grant(startup, amount, lot)

    def accept(self, rate: int, from_s: int, now_s: int) -> list[Written]:
        """A rate below or above all before it, from an instant that is past: paid from then.

        A lower one is charged from then too: what is charged already comes back to the last
        drawn, stretch by stretch. A higher one is the sponsor's alone.
        """
        is_lower = all(rate < each for _, each in self.paid)
        self.paid = sorted([*self.paid, (from_s, rate)], key=lambda step: step[0])
        if is_lower:
            self.steps = [*(step for step in self.steps if step[0] < from_s), (from_s, rate)]
        written: list[Written] = []
        for charge in self.charges.values():
            if not charge.from_s < now_s or charge.to_s <= from_s:
                continue
            made, lost = [], []
            for a, b in _open(charge, from_s, now_s) if is_lower else ():
                for part in self._stretches(charge, a, b):
                    back = self._reprice(charge, part, rate, from_s)
                    total = sum(ucr for _, ucr in back)
                    made += (
                        [("correction", [(f"usage:{charge.startup}", -total), *back])]
                        if back
                        else []
                    )
                    lost += self._forfeits(back, now_s)
            more = self._difference_of(charge) - charge.differs
            charge.differs += more
            written += [*made, *lost, *([self._differing(more)] if more else [])]
        return written

    def _stretches(self, charge: Charged, from_s: int, to_s: int) -> list[Stretch]:
        """Seconds of a charge as they are priced, in order."""
        parts = [(max(a, from_s), min(b, to_s), rate, at) for a, b, rate, at in charge.priced]
        return [part for part in parts if part[0] < part[1]]

    def _reprice(self, charge: Charged, part: Stretch, rate: int, from_s: int) -> list[Side]:
        """Bring a stretch to a rate, where that is cheaper; what comes back to whom."""
        a, b, old, at = part
        origin_s = max(charge.run_s, from_s)
        amount = cost(old, at, a, b) - cost(rate, origin_s, a, b)
        if amount <= 0 or old == rate:
            return []
        priced = []
        for x, y, r, o in charge.priced:
            priced += [(x, min(y, a), r, o), (max(x, b), y, r, o)]
        priced = [piece for piece in priced if piece[0] < piece[1]]
        charge.priced = sorted([*priced, (a, b, rate, origin_s)])
        return self._give(charge, amount)

    def _difference_of(self, charge: Charged) -> int:
        """What the program pays for a charge above what it is charged, refunds aside."""
        total, ends = 0, [*(from_s for from_s, _ in self.paid[1:]), INT64]
        for a, b, rate, at in charge.priced:
            for (from_s, paid), end_s in zip(self.paid, ends, strict=True):
                x, y = max(a, from_s), min(b, end_s)
                if x < y and paid != rate:
                    total += cost(paid, max(charge.run_s, from_s), x, y) - cost(rate, at, x, y)
        return total

    def _differing(self, more: int) -> Written:
        sides = [(f"price-difference:{self.cohort}", -more), (f"provider:{self.cohort}", more)]
        return ("difference", sides)

    def _difference(self, row: dict[str, Any]) -> list[Side]:
        charge = self.charges[row["detail"]["charge"]]
        assert charge.differs == 0, "a cycle posts it once"
        charge.differs = self._difference_of(charge)
        return self._differing(charge.differs)[1]

    def advance(self, startup: str, named: str, now_s: int) -> list[Written] | None:
        """Half of the next tranche becomes a grant that may be spent at once."""
        later = [
            lot
            for lot in self.lots.values()
            if (lot.startup, lot.id.partition("/")[0]) == (startup, named)
            and lot.from_s > now_s
            and self.accounts[lot.account]
        ]
        if not later:
            return None
        old = min(later, key=lambda lot: (lot.from_s, lot.id))
        amount = max(1, self.accounts[old.account] // 2)
        id = f"{old.id}.{self.count + 1}"
        new = Lot(startup, id, old.priority, now_s, old.to_s, len(self.lots), old.rolls)
        self.lots[new.account] = new
        return [("advance", [(old.account, -amount), (new.account, amount)])]

    def hold(self, startup: str, amount: int, now_s: int, to_s: int) -> list[Written] | None:
        """Set aside what is available, from grants that last as long."""
        draws = self.drawn(self.usable(startup, now_s, to_s), amount)
        if amount > self.available(startup, now_s) or sum(ucr for _, ucr in draws) < amount:
            return None
        id = f"h{self.count + 1}"
        self.holds[id] = Held(startup, to_s, draws)
        held = (f"held:{startup}:{id}", amount)
        return [("hold", [*((a, -ucr) for a, ucr in draws), held])]

    def end(self, id: str, kind: str, settled: int, now_s: int) -> list[Written] | None:
        """A hold ends: what is settled is spent, the rest returns, the last drawn first."""
        hold = self.holds[id]
        if settled > hold.ucr or now_s >= hold.to_s:
            return None
        del self.holds[id]
        sides = self._ended(id, hold, settled)
        return [(kind, sides), *self._forfeits(sides, now_s)]

    @staticmethod
    def _ended(id: str, hold: Held, settled: int) -> list[Side]:
        rest, sides = hold.ucr - settled, [(f"held:{hold.startup}:{id}", -hold.ucr)]
        sides += [(f"settled:{hold.startup}", settled)] if settled else []
        for account, drawn in reversed(hold.draws):
            part = min(rest, drawn)
            sides += [(account, part)] if part else []
            rest -= part
        return sides

    def transfer(self, sender: str, to: str, amount: int, now_s: int) -> list[Written] | None:
        """Parts arrive as grants of their own, named after this transfer's number."""
        if amount > self.available(sender, now_s):
            return None
        parts = self.drawn(self.usable(sender, now_s, now_s + 1), amount)
        into = []
        for account, ucr in parts:
            old = self.lots[account]
            id = f"{old.id}.{self.count + 1}"
            new = Lot(to, id, old.priority, now_s, old.to_s, len(self.lots))
            self.lots[new.account] = new
            into.append((new.account, ucr))
        return [("transfer", [*((a, -ucr) for a, ucr in parts), *into])]

    def refund(self, startup: str, from_s: int, to_s: int, now_s: int) -> list[Written] | None:
        """Each second comes back once, to the last drawn first; ended grants forfeit it."""
        refunds, lost = [], []
        for charge in self.charges.values():
            if charge.startup != startup:
                continue
            for period in _open(charge, from_s, to_s):
                back = self._back(charge, period)
                total = sum(ucr for _, ucr in back)
                refunds.append(("refund", [(f"usage:{startup}", -total), *back]))
                lost += self._forfeits(back, now_s)
        return [*refunds, *lost] or None

    def _back(self, charge: Charged, period: tuple[int, int]) -> list[Side]:
        back = self._give(charge, charge.cost(*period))
        charge.gone.append(period)
        return back

    def _give(self, charge: Charged, amount: int) -> list[Side]:
        back = []
        for account, drawn in reversed(charge.draws):
            part = min(amount, drawn - charge.returned[account])
            if part:
                back.append((account, part))
            charge.returned[account] += part
            amount -= part
        assert amount == 0, "a charge drew what it cost"
        return back

    def _forfeits(self, back: list[Side], now_s: int) -> list[Written]:
        return [
            ("expiry", [(account, -ucr), (f"expired:{self.cohort}", ucr)])
            for account, ucr in back
            if account in self.lots and self.lots[account].to_s <= now_s
        ]

    # What the book has.

    def saw(self, servers: dict[str, tuple[str, int, int, int | None]], now_s: int) -> None:
        """A complete sweep: startup, rate, start and end of every server there ever was."""
        self.known_s = now_s
        for id, (startup, rate, start_s, end_s) in servers.items():
            if not self.steps:
                self.steps, self.paid = [(0, rate)], [(0, rate)]
            first = [(start_s, step) for from_s, step in self.steps if from_s <= start_s][-1:]
            ran = self.ran.setdefault(id, CommandResult(startup, first, start_s, start_s, start_s))
            ran.known_s, ran.is_on = end_s or now_s, end_s is None

    def rated(self) -> None:
        """A cycle prices what is not charged yet."""
        for ran in self.ran.values():
            ran.priced(self.steps)

    def take(self, row: dict[str, Any], must: Written | None) -> None:
        """A transfer in the book: it must be as asked, or as it has to be in a cycle."""
        expected = must or (row["kind"], self._due(row))
        assert (row["kind"], row["entries"]) == expected, row
        self.count += 1
        assert row["id"] == self.count
        for account, ucr in row["entries"]:
            self.accounts[account] += ucr
            stands = self.accounts[account]
            assert stands >= 0 or account.startswith(FALLS_BELOW_ZERO), (account, row)
            assert -INT64 < stands < INT64
        assert sum(self.accounts.values()) == 0

    def _due(self, row: dict[str, Any]) -> list[Side]:
        """What a cycle must have written, by kind."""
        due: list[Side] = getattr(self, f"_{row['kind'].replace('-', '_')}")(row)
        return due

    def _charge(self, row: dict[str, Any]) -> list[Side]:
        detail = row["detail"]
        ran, from_s, to_s = self.ran[detail["server"]], detail["start_s"], detail["end_s"]
        assert (ran.startup, ran.charged_s) == (row["startup"], from_s), "no gap, no overlap"
        assert from_s < to_s <= ran.known_s, "only what is known to have run"
        cost = ran.cost(from_s, to_s)
        draws = self.drawn(self.usable(ran.startup, from_s, to_s), cost)
        lacks = cost - sum(ucr for _, ucr in draws)
        draws += [(f"overdraft:{self.cohort}", lacks)] if lacks else []
        ran.charged_s = to_s
        (run_s, rate) = [each for each in ran.rates if each[0] <= from_s][-1]
        made = Charged(ran.startup, detail["server"], from_s, to_s, draws, run_s=run_s)
        made.priced = [(from_s, to_s, rate, run_s)]
        self.charges[row["key"]] = made
        return [*((a, -ucr) for a, ucr in draws), (f"usage:{ran.startup}", cost)]

    def _rollover(self, row: dict[str, Any]) -> list[Side]:
        """The allowed part of what is left moves on at the end of a tranche."""
        account = row["entries"][0][0]
        lot = self.lots[account]
        assert lot.rolls is not None and lot.to_s == row["at_s"] <= self.known_s
        moving = floor(self.accounts[account] * lot.rolls[1])
        self.rolled.add(account)
        return [(account, -moving), (f"grant:{lot.startup}:{lot.rolls[0]}", moving)]

    def _hold_expiry(self, row: dict[str, Any]) -> list[Side]:
        hold = self.holds.pop(row["detail"]["hold"])
        assert hold.to_s == row["at_s"] <= row["recorded_s"], "by the clock, in the dark too"
        return self._ended(row["detail"]["hold"], hold, 0)

    def _expiry(self, row: dict[str, Any]) -> list[Side]:
        account = row["entries"][0][0]
        lot, left = self.lots[account], self.accounts[account]
        assert lot.to_s == row["at_s"] <= self.known_s, "not before its end is known"
        waiting = [r for r in self.ran.values() if r.startup == lot.startup]
        assert all(r.charged_s >= min(lot.to_s, r.known_s) for r in waiting), "usage draws first"
        assert not lot.rolls or account in self.rolled or floor(left * lot.rolls[1]) == 0
        return [(account, -left), (f"expired:{self.cohort}", left)]

    def settled(self, now_s: int) -> None:
        """After a cycle: all that ended is forfeited, and all that ran is charged or accrued."""
        for lot in self.lots.values():
            assert lot.to_s > self.known_s or self.accounts[lot.account] == 0, lot
        assert all(hold.to_s > now_s for hold in self.holds.values()), "a hold ran out"
        for charge in self.charges.values():
            assert charge.differs == self._difference_of(charge), "what is paid above is posted"
        for startup in {ran.startup for ran in self.ran.values()}:
            mine = [ran for ran in self.ran.values() if ran.startup == startup]
            whole = sum(ran.cost(ran.start_s, ran.known_s) for ran in mine)
            accrued = sum(ran.cost(ran.charged_s, ran.known_s) for ran in mine)
            back = sum(
                sum(c.returned.values()) for c in self.charges.values() if c.startup == startup
            )
            assert self.accounts[f"usage:{startup}"] == whole - accrued - back


def _open(charge: Charged, from_s: int, to_s: int) -> list[tuple[int, int]]:
    """The seconds of a charge in a window that did not come back yet."""
    parts = [(max(charge.from_s, from_s), min(charge.to_s, to_s))]
    for gone_s, back_s in charge.gone:
        parts = [p for a, b in parts for p in ((a, min(b, gone_s)), (max(a, back_s), b))]
    return sorted((a, b) for a, b in parts if a < b)
