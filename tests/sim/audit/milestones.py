"""I18 for milestones: a tranche is credited once, as agreed, if it was confirmed in time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from .evidence import Evidence, Row


def milestones(found: Evidence) -> Iterator[str]:
    """Every tranche that was wrongly credited, or rightly confirmed and not credited."""
    credited: dict[str, list[Row]] = defaultdict(list)
    for row in found.transfers:
        if row["kind"] == "grant":
            credited[row["entries"][1][0]].append(row)
    for account, (begins_s, ends_s, amount_ucr, milestone) in _terms(found).items():
        name = account.split(":")[1]
        tries = [at_s for at_s, *of in found.confirmed if of == [name, milestone]]
        good = [s for s in tries if begins_s <= s < ends_s and _is_member(found, name, s)]
        found.judged["I18"] += bool(tries or credited[account])
        rows = [(row["at_s"], row["entries"][1][1]) for row in credited[account]]
        if rows != [(at_s, amount_ucr) for at_s in good[:1]]:
            yield f"I18 {account} was credited as {rows}, confirmed at {tries}, to {ends_s}"


def _terms(found: Evidence) -> dict[str, tuple[int, int, int, str]]:
    """By account of each milestone's tranche: start, latest confirmation, amount and name."""
    return {
        f"grant:{startup.name}:{grant.id}/{number}": (
            grant.effective_s,
            grant.expires_s if tranche.by_s is None else tranche.by_s,
            tranche.amount_ucr,
            tranche.milestone,
        )
        for _, program in found.programs
        for startup in program.startups()
        for grant in startup.grants
        for number, tranche in enumerate(grant.tranches, 1)
        if tranche.milestone
    }


def _is_member(found: Evidence, name: str, at_s: int) -> bool:
    programs = [program for from_s, program in found.programs if from_s <= at_s]
    return bool(programs) and programs[-1].startup(name) is not None
