"""I18 for self-advances: one for each tranche, before it begins, and at most half of it."""

from __future__ import annotations

from collections.abc import Iterator

from .audit.evidence import Evidence

KEY = "self-advance:"


def ahead(found: Evidence) -> Iterator[str]:
    """Every part of a tranche that its startup should not have had so early."""
    terms = _terms(found)
    taken: set[str] = set()
    for row in found.transfers:
        if row["kind"] != "advance" or not row["actor"].startswith("token:"):
            continue
        (source, out_ucr), (part, ucr) = row["entries"]
        begins_s, amount_ucr, before = terms[source]
        found.judged["I18"] += 1
        if source in taken or row["key"] != f"{KEY}{row['startup']}:{source.rpartition(':')[2]}":
            yield f"I18 transfer {row['id']} takes ahead of {source} again"
        taken.add(source)
        if out_ucr != -ucr or ucr > amount_ucr // 2 or not part.startswith(f"{source}."):
            yield f"I18 transfer {row['id']} takes {ucr} of the {amount_ucr} of {source} ahead"
        if not before <= row["at_s"] < begins_s:
            yield f"I18 transfer {row['id']} takes ahead of {source} at {row['at_s']}"


def _terms(found: Evidence) -> dict[str, tuple[int, int, int]]:
    """Start, amount and start of the tranche before, by account of each dated tranche."""
    terms = {}
    for _, program in found.programs:
        for startup in program.startups():
            for grant in startup.grants:
                before_s = 0
                for number, tranche in enumerate(grant.tranches, 1):
                    if tranche.effective_s is not None:
                        account = f"grant:{startup.name}:{grant.id}/{number}"
                        terms[account] = (tranche.effective_s, tranche.amount_ucr, before_s)
                        before_s = tranche.effective_s
    return terms
