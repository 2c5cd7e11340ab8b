"""What does each rule conclude from its inputs? Pure functions from inputs to a reason.

A rule decides by calling `conclude` with the inputs that its decision stores. Calling
it again with the stored inputs is how `explain` and the tests recompute a decision. Inputs
are amounts, instants and names; the only sentences among them are those that people said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from quotas.decisions.causes import level_from
from quotas.decisions.sentences import Inputs, deferral, override_text, overuse, pace, request
from quotas.model.units import HOUR_S, format_credits, format_duration, format_instant


def _limit(i: Inputs) -> str | None:
    if int(i["used_gpus"]) <= int(i["limit_gpus"]):
        return None
    return (
        f"{i['startup']} uses {i['used_gpus']} GPUs in {i['pool']}, its limit is "
        f"{i['limit_gpus']}: {i['server']} ({i['gpus']}) is its newest server there"
    )


def _credits(i: Inputs) -> str | None:
    left_ucr = int(i["posted_ucr"]) - int(i["accrued_ucr"]) - int(i["held_ucr"])
    short_ucr = int(i["reserve_ucr"]) - left_ucr
    if short_ucr < 0 and not i["stopped_before"]:
        return None
    return (
        f"{i['startup']} has {format_credits(left_ucr)} credits left, and needs "
        f"{format_credits(int(i['reserve_ucr']))} to give notice and stop at "
        f"{format_credits(int(i['burn_ucr_per_h']))} an hour"
    )


def _end(i: Inputs) -> str | None:
    if int(i["now_s"]) < int(i["ends_s"]) - int(i["notice_s"]):
        return None
    return f"the cohort of {i['startup']} ends at {format_instant(int(i['ends_s']))}"


def _membership(i: Inputs) -> str | None:
    if int(i["members"]):
        return None
    return f"{i['startup']} is no longer in the program"


def _operator(i: Inputs) -> str | None:
    if i["level"] == "closed" and int(i["started_s"]) <= int(i["override_s"]):
        return None
    since = " and was started afterwards" if i["level"] == "closed" else ""
    return f"{i['startup']} is {i['level']}{since}: {override_text(i)}"


def _standby(i: Inputs) -> str | None:
    stood_s = int(i["now_s"]) - int(i["since_s"])
    if stood_s < int(i["standby_stop_after_s"]):
        return None
    return (
        f"{i['server']} of {i['startup']} is stopped in place since "
        f"{format_instant(int(i['since_s']))} and still billed, for longer than "
        f"{format_duration(int(i['standby_stop_after_s']))}"
    )


def _reclaim(i: Inputs) -> str | None:
    if int(i["overuse_gpus"]) <= 0:
        return None
    return (
        f"{i['owner']} waits for its nominal quota in {i['pool']}, and {i['startup']} runs "
        f"{i['overuse_gpus']} GPUs above its share there: {i['server']} ({i['gpus']}) is among "
        f"the fewest and newest that {i['owner']} can use"
    )


def _remind(i: Inputs) -> str | None:
    return f"{format_duration(int(i['left_s']))} are left"


def _breach(i: Inputs) -> str | None:
    short_s = int(i["short_s"])
    if short_s <= 0:
        return None
    if "sent_s" not in i:
        return (
            f"no channel of {i['startup']} took notice {i['notice']} before its deadline at "
            f"{format_instant(int(i['deadline_s']))}: all of its {format_duration(short_s)} "
            "were missing"
        )
    if int(i["deadline_s"]) - max(int(i["sent_s"]), int(i["opened_s"])) != short_s:
        return None
    return f"{i['server']} was stopped {format_duration(short_s)} before its deadline"


def _acknowledge(i: Inputs) -> str | None:
    return f"{i['actor']} acknowledged notice {i['notice']}"


def _snooze(i: Inputs) -> str | None:
    by = format_duration(int(i["to_s"]) - int(i["from_s"]))
    until = format_instant(int(i["to_s"]))
    return f"{i['actor']} moved the deadline by {by} to {until}: {i['reason']}"


def _test(i: Inputs) -> str | None:
    return f"{i['actor']} tries the channels"


def _advance(i: Inputs) -> str | None:
    if int(i["amount_ucr"]) <= 0:
        return None
    return (
        f"{i['actor']} took {format_credits(int(i['amount_ucr']))} credits of tranche "
        f"{i['tranche']} of {i['startup']} ahead, of {format_credits(int(i['most_ucr']))} at most; "
        f"{format_credits(int(i['left_ucr']))} remain in it, to be spent from "
        f"{format_instant(int(i['begins_s']))} on"
    )


def _extend(i: Inputs) -> str | None:
    if int(i["resumed_s"]) <= int(i["was_due_s"]):
        return None
    return (
        f"{i['server']} was to be powered off at {format_instant(int(i['was_due_s']))}, when "
        f"stops waited; they go on since {format_instant(int(i['resumed_s']))}, and it will be "
        f"powered off at {format_instant(int(i['deadline_s']))}"
    )


def _closing(i: Inputs) -> str | None:
    level, why = level_from(i)
    if i["action"] == "close" and level in {"closed", "stopped"}:
        return (
            f"{i['startup']} may start and create no servers from now on: {why}. Scaleway "
            "refuses both with 403; stopping and deleting stay allowed."
        )
    if i["action"] == "reopen" and level in {"open", "paced"}:
        return f"{i['startup']} may start and create servers again: {why}."
    if i["action"] == "inherit" and level in {"open", "paced"}:
        return f"{i['startup']} may start and create servers in what passed to it: {why}."
    if i["action"] == "forbid" and level in {"closed", "stopped"}:
        return (
            f"{i['startup']} may start no servers from now on: {why}. What it starts is powered "
            "off after its notice."
        )
    if i["action"] == "permit" and level in {"open", "paced"}:
        return f"{i['startup']} may start servers again: {why}."
    return None


def _release(i: Inputs) -> str | None:
    return f"release-all by {i['actor']}: {i['override_reason']}"


def _restart(i: Inputs) -> str | None:
    whys = {"undo": _undone, "auto_resume": _resumed}
    why = whys[str(i["by"])](i)
    return why and f"{i['server']} of {i['startup']} is powered on again: {why}"


def _undone(i: Inputs) -> str | None:
    return f"its stop was undone: {override_text(i)}"


def _resumed(i: Inputs) -> str | None:
    if int(i["available_ucr"]) * HOUR_S <= int(i["rates_ucr_per_h"]) * int(i["carry_s"]):
        return None
    return f"{i['startup']} asked for auto_resume, and the cause ended"


def _runway(i: Inputs) -> str | None:
    return (
        f"{format_credits(int(i['available_ucr']))} credits are available and last "
        f"{format_duration(int(i['runway_s']))} at "
        f"{format_credits(int(i['burn_ucr_per_h']))} an hour"
    )


def _ending(i: Inputs) -> str | None:
    left = format_duration(int(i["ends_s"]) - int(i["now_s"]))
    return f"the cohort ends at {format_instant(int(i['ends_s']))}, in {left}"


def _expiry(i: Inputs) -> str | None:
    left = format_duration(int(i["at_s"]) - int(i["now_s"]))
    return (
        f"{format_credits(int(i['amount_ucr']))} credits of {i['grant']} will be forfeited at "
        f"{format_instant(int(i['at_s']))}, in {left}, at "
        f"{format_credits(int(i['burn_ucr_per_h']))} credits an hour"
    )


def _outcome(i: Inputs) -> str | None:
    ended = {
        "": "",
        "resolved": " and free of it: the cause ended",
        "mode": f" and free of it: the mode is {i.get('mode')}, no longer {i.get('was')}",
        "unwanted": ", and no longer offered back",
    }
    return f"{i['server']} is {i['state']}{ended[str(i.get('ended_by', ''))]}"


def _disruption_budget(i: Inputs) -> str | None:
    if int(i["counted_gpus"]) + int(i["gpus"]) <= int(i["most_gpus"]):
        return None
    return (
        f"the guard holds {i['server']} ({i['gpus']} GPUs): {i['counted_gpus']} GPUs were stopped "
        f"within an hour, and {i['most_gpus']} may be; 'cohortd approve' lets it pass"
    )


REASONS: Mapping[str, Callable[[Inputs], str | None]] = {
    "limit": _limit,
    "credits": _credits,
    "cohort-end": _end,
    "membership": _membership,
    "operator": _operator,
    "standby": _standby,
    "reclaim": _reclaim,
    "deferral": deferral,
    "runway": _runway,
    "end": _ending,
    "expiry": _expiry,
    "advance": _advance,
    "overuse": overuse,
    "pace": pace,
    "request": request,
    "outcome": _outcome,
    "disruption-budget": _disruption_budget,
    "restart": _restart,
    "extend": _extend,
    "closing": _closing,
    "release": _release,
    "remind": _remind,
    "acknowledge": _acknowledge,
    "snooze": _snooze,
    "test": _test,
    "breach": _breach,
}


class NotConcludedError(ValueError):
    """The inputs do not lead a rule to any conclusion."""


def conclude(rule: str, inputs: Inputs) -> str:
    """The reason a rule gives for its inputs. Raises NotConcludedError, KeyError."""
    reason = REASONS[rule](inputs)
    if reason is None:
        raise NotConcludedError(f"rule {rule} concludes nothing from {dict(inputs)}")
    return reason


def rule_of(rule: str, verb: str) -> str:
    """Which function recomputes a decision: its rule's, or the one that its verb has."""
    by_verb = {
        "executed": "outcome",
        "cancelled": "outcome",
        "restarted": "outcome",
        "defer": "disruption-budget",
        "extend": "extend",
        "restart": "restart",
        "remind": "remind",
        "acknowledge": "acknowledge",
        "snooze": "snooze",
        "test": "test",
        "release": "release",
        "breach": "breach",
    }
    if verb == "announce" and rule == "cohort-end":
        return "end"
    return by_verb.get(verb, rule)
