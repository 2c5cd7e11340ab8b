"""Texts of verbs: what became of a notice, and what people answered."""

from __future__ import annotations

from quotas.decisions import verbs
from quotas.messages.catalogue.rules import override_text, restriction_text
from quotas.messages.catalogue.texts import Texts
from quotas.model.units import format_credits, format_duration, format_instant


def _outcome(f: verbs.Outcome) -> str:
    ended = {
        "": "",
        "resolved": " and free of it: the cause ended",
        "mode": f" and free of it: the mode is {f.mode}, no longer {f.was}",
        "unwanted": ", and no longer offered back",
    }
    return f"{f.server} is {f.state}{ended[f.ended_by]}"


def _deferred(f: verbs.Deferral) -> str:
    return (
        f"the disruption budget defers {f.server} ({f.gpus} GPUs): {f.counted_gpus} GPUs were "
        f"stopped within an hour, and {f.most_gpus} may be; 'cohortd approve' lets it pass"
    )


def extension(f: verbs.Extension) -> str:
    """Why a notice has a later deadline after a freeze."""
    return (
        f"{f.server} was to be powered off at {format_instant(f.was_due_s)}, when stops waited; "
        f"they go on since {format_instant(f.resumed_s)}, and it will be powered off at "
        f"{format_instant(f.deadline_s)}"
    )


def _restart(f: verbs.Restart) -> str:
    why = (
        f"its stop was undone: {override_text(f.override)}"
        if f.by == "undo"
        else f"{f.startup} asked for auto_resume, and the cause ended"
    )
    return f"{f.server} of {f.startup} is powered on again: {why}"


def _breach(f: verbs.Breach) -> str:
    short = format_duration(f.short_s)
    if f.sent_s is None:
        return (
            f"no channel of {f.startup} took notice {f.notice} before its deadline at "
            f"{format_instant(f.deadline_s)}: all of its {short} were missing"
        )
    return f"{f.server} was stopped {short} before its deadline"


def _snooze(f: verbs.Snooze) -> str:
    by = format_duration(f.to_s - f.from_s)
    return f"{f.actor} moved the deadline by {by} to {format_instant(f.to_s)}: {f.reason}"


def _advance(f: verbs.SelfAdvance) -> str:
    return (
        f"{f.actor} took {format_credits(f.amount_ucr)} credits of tranche {f.tranche} of "
        f"{f.startup} ahead, of {format_credits(f.most_ucr)} at most; "
        f"{format_credits(f.left_ucr)} remain in it, to be spent from "
        f"{format_instant(f.begins_s)} on"
    )


def _closing(f: verbs.Closing) -> str:
    why = restriction_text(f.by, f.restriction)
    return {
        "close": f"{f.startup} may start and create no servers from now on: {why}. Scaleway "
        "refuses both with 403; stopping and deleting stay allowed.",
        "reopen": f"{f.startup} may start and create servers again: {why}.",
        "inherit": f"{f.startup} may start and create servers in what passed to it: {why}.",
        "forbid": f"{f.startup} may start no servers from now on: {why}. What it starts is "
        "powered off after its notice.",
        "permit": f"{f.startup} may start servers again: {why}.",
        "release": f"{f.startup} may start servers again: an operator gave everything back.",
    }[f.action]


TEXTS: Texts = {
    "outcome": _outcome,
    "disruption-budget": _deferred,
    "extend": extension,
    "restart": _restart,
    "remind": lambda f: f"{format_duration(f.left_s)} are left",
    "acknowledge": lambda f: f"{f.actor} acknowledged notice {f.notice}",
    "snooze": _snooze,
    "test": lambda f: f"{f.actor} tries the channels",
    "test.notice": lambda f: (
        f"This is a test by {f.actor}: notices about servers of {f.startup} arrive here. Nothing "
        "is stopped. Please acknowledge it, so that we know that somebody reads them."
    ),
    "advance": _advance,
    "closing": _closing,
    "release": lambda f: f"release-all by {f.actor}: {f.override_reason}",
    "breach": _breach,
}
