"""Texts of verbs: what became of a notice, and what people answered."""

from __future__ import annotations

from quotas.decisions import verbs
from quotas.decisions.record import Closing
from quotas.messages.catalogue.rules import override_text, restriction_text
from quotas.messages.catalogue.texts import Texts
from quotas.model.units import format_duration, format_instant


def _outcome(f: verbs.Outcome) -> str:
    ended = {
        "": "",
        "resolved": " and its notice is over: the cause ended",
        "mode": f" and its notice is over: the mode is {f.mode}, no longer {f.was}",
        "unwanted": ", and no longer offered back",
    }
    return f"{f.server} is {f.state}{ended[f.ended_by]}"


def _restart(f: verbs.Restart) -> str:
    why = f"{f.startup} asked for auto_resume, and the cause ended"
    if f.override is not None:
        why = f"its stop was undone: {override_text(f.override)}"
    return f"{f.server} of {f.startup} is powered on again: {why}"


def _breach(f: verbs.Breach) -> str:
    short = format_duration(f.short_s)
    if f.sent_s is not None:
        return f"{f.server} was stopped {short} before its deadline"
    until = f"before its deadline at {format_instant(f.deadline_s)}"
    return (
        f"no channel of {f.startup} took notice {f.notice} {until}: all of its {short} were missing"
    )


def _snooze(f: verbs.Snooze) -> str:
    by = format_duration(f.to_s - f.from_s)
    return f"{f.actor} moved the deadline by {by} to {format_instant(f.to_s)}: {f.reason}"


def _closing(f: Closing) -> str:
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
    "disruption-budget": (
        "the disruption budget defers {server} ({gpus} GPUs): {counted_gpus} GPUs were stopped "
        "within an hour, and {most_gpus} may be; 'cohortd approve' lets it pass"
    ),
    "extend": (
        "{server} will be powered off at {deadline_s:instant}, not at {was_due_s:instant} (stops "
        "waited until {resumed_s:instant})"
    ),
    "restart": _restart,
    "remind": "{left_s:duration} are left",
    "acknowledge": "{actor} acknowledged notice {notice}",
    "snooze": _snooze,
    "test": "{actor} tries the channels",
    "test.notice": (
        "This is a test by {actor}: notices about servers of {startup} arrive here. Nothing is "
        "stopped. Please acknowledge it, so that we know that somebody reads notices here."
    ),
    "advance": (
        "{actor} took {amount_ucr:credits} credits of tranche {tranche} of {startup} ahead, of "
        "{most_ucr:credits} at most; {left_ucr:credits} remain in it, to be spent from "
        "{begins_s:instant} on"
    ),
    "closing": _closing,
    "release": "release-all by {actor}: {override_reason}",
    "breach": _breach,
}
