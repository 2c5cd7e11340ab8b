"""Levels of startups as people read them: a name and a meaning for each code.

Portal, dashboards and `cohortctl` show them. The module imports nothing of ours, so that
`cohortctl` starts fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class LevelText(NamedTuple):
    """The name of a level and what it means for a startup."""

    name: str
    meaning: str


LEVELS: Mapping[str, LevelText] = {
    "open": LevelText("open", "Everything may run."),
    "paced": LevelText("at limit", "What runs may go on; nothing more may start."),
    "closed": LevelText("no new servers", "Nothing new may start."),
    "stopped": LevelText("powering off", "What runs is powered off after its notice."),
}
"""The text of each `quotas.rules.context.Level`, in their order."""
