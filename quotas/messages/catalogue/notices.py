"""Texts of notices: what will be stopped and when, what the stop takes, and what avoids it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from quotas.model.units import format_instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What the stop of a server takes: its scratch disk, and whether its slot is kept."""

    scratch_bytes: int | None
    is_reserved: bool


def notice_text(
    server: str, deadline_s: int, reason: str, remedy: str, loss: Loss, goes_on_s: int | None
) -> str:
    """The text of a new notice; `goes_on_s` is when an older one began that it continues."""
    text = (
        f"{server} will be powered off at {format_instant(deadline_s)}: {reason}. "
        f"{remedy[:1].upper()}{remedy[1:]}. {loss_text(loss)}"
    )
    if goes_on_s is not None:
        text += f" This goes on with the notice of {format_instant(goes_on_s)}."
    return text


def extended_text(why: str, reason: str, loss: Loss) -> str:
    """The text of a notice that has the minimum notice again after a freeze."""
    return f"{why}: {reason}. {loss_text(loss)}"


def loss_text(loss: Loss) -> str:
    """What the stop of a server takes from its startup, and what it leaves."""
    slot = "stays the program's" if loss.is_reserved else "goes back to Scaleway"
    return f"{_scratch(loss.scratch_bytes)}; its slot {slot}; volumes stay."


def _scratch(size_bytes: int | None) -> str:
    """What becomes of the scratch disk; None where the flavor is not known from the catalogue."""
    if size_bytes is None:
        return "A scratch disk, where it has one, is erased"
    if not size_bytes:
        return "It has no scratch disk"
    return f"Its scratch disk of {size_bytes // 10**9} GB is erased"


TEXTS: Mapping[str, Callable[[Any], str]] = {}
