"""Operator exemptions from stop rules, each with its end."""

from __future__ import annotations

from quotas.state.overrides import UNDONE_FOR_S, Override
from quotas.state.snapshot import Snapshot


def exemption(snapshot: Snapshot, startup: str, server_id: str) -> Override | None:
    """The override for which no rule applies to a server; an undone stop exempts it for a day.

    A startup that its cohort's end or an operator stopped may still be exempted: the
    newest override counts, and it has an end.
    """
    overrides = snapshot.overrides
    given = overrides.on("exempt", server_id, startup)
    undone = overrides.on("undo", server_id)
    if given is None and undone is not None and snapshot.now_s < undone.at_s + UNDONE_FOR_S:
        return undone
    return given
