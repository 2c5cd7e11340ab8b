"""Of whom must nothing be asked for now? Exemptions that operators gave, each with its end."""

from __future__ import annotations

from quotas.decisions.overrides import UNDONE_FOR_S, Override
from quotas.decisions.snapshot import Snapshot, Violation


def exemption(snapshot: Snapshot, startup: str, server_id: str) -> Override | None:
    """The word for which no rule applies to a server; an undone stop exempts it for a day.

    A startup that its cohort's end or an operator stopped may still be exempted: the
    newest word of a person counts, and it has an end.
    """
    overrides = snapshot.overrides
    given = overrides.on("exempt", server_id, startup)
    undone = overrides.on("undo", server_id)
    if given is None and undone is not None and snapshot.now_s < undone.at_s + UNDONE_FOR_S:
        return undone
    return given


def drop_exempt(snapshot: Snapshot, violations: list[Violation]) -> list[Violation]:
    """The violations of those who are not exempt."""
    return [v for v in violations if not exemption(snapshot, v.run.startup, v.run.server_id)]
