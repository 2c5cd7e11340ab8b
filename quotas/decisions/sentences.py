"""How do figures become a sentence, where nothing is moved by it? Paces, excesses, requests.

Each answers None where its figures do not lead to the sentence.
"""

from __future__ import annotations

from collections.abc import Mapping

from quotas.ledger.forecast import Action, Curve, allowance_ucr
from quotas.model.units import DAY_S, Period, format_credits, format_duration, format_instant

Inputs = Mapping[str, int | str]
"""What a decision was made from: amounts, instants, names, and what people said."""

BOUNDS: Mapping[str, str] = {
    "credits": "its credits pay for no more",
    "pace": "it spends ahead of its pace and may borrow no more",
    "daily-burn": "it has spent its credits of the day",
    "policy": "its limit of the program",
    "limit": "a limit above it",
    "borrowing_limit": "its borrowing limit",
    "weight": "its weight of 0, which never borrows",
    "lending_limit": "quota that its owners do not lend",
}
"""What a share is limited by, in words; for what is not listed, the pool is."""
SHORT = "the pool has no more to give"


def override_text(i: Inputs) -> str:
    """What an operator said: who, when, until when and why."""
    until = f" until {format_instant(int(i['until_s']))}" if "until_s" in i else ""
    at = format_instant(int(i["override_s"]))
    return f"{i['actor']} said so at {at}{until}: {i['override_reason']}"


def pace(i: Inputs) -> str | None:
    """What is spent, held against what may be by now."""
    term, curve = Period(int(i["starts_s"]), int(i["ends_s"])), Curve(str(i["curve"]))
    granted, now_s = int(i["granted_ucr"]), int(i["now_s"])
    if "reached_s" in i:
        if int(i["today_ucr"]) < int(i["daily_burn_ucr"]) or int(i["reached_s"]) > now_s:
            return None
        limit = format_credits(int(i["daily_burn_ucr"]))
        return f"its limit of {limit} credits a day is reached: nothing new until midnight"
    ahead = False
    if "ahead_s" in i:
        tomorrow_s = min(int(i["ahead_s"]) + DAY_S, term.end_s)
        ahead = int(i["spent_then_ucr"]) > allowance_ucr(granted, term, tomorrow_s, curve)
    spent = format_credits(int(i["spent_ucr"]))
    allowed = format_credits(allowance_ucr(granted, term, now_s, curve))
    if i["pacing"] == Action.BORROW_NO_MORE:
        if not ahead:
            return None
        return f"{spent} credits are spent, {allowed} were paced to date: no more borrowing"
    verb = "ahead of" if ahead else "within"
    return f"{spent} credits are spent, {verb} the {allowed} paced to date"


def overuse(i: Inputs) -> str | None:
    """Who runs more than its share, and for whom or by what the share ends there."""
    above = int(i["used_gpus"]) - int(i["share_gpus"])
    if above <= 0:
        return None
    why = f"{i['owner']} waits for its nominal quota" if "owner" in i else _bound(i)
    return (
        f"{i['startup']} runs {i['used_gpus']} GPUs in {i['pool']}, {above} above its share of "
        f"{i['share_gpus']}; {why}"
    )


def _bound(i: Inputs) -> str:
    return (
        f"of the {i['nominal_gpus']} that are its own and what it may borrow it has no more: "
        f"{BOUNDS.get(str(i['limited_by']), SHORT)}"
    )


def obstacle(i: Inputs) -> str:
    """Why evicting a borrower would not serve the owner now. Raises KeyError."""
    texts = {
        "unknown-zone": f"not every zone of {i['pool']} could be read",
        "stock": f"Scaleway says {i.get('stock')!r} of what {i['owner']} can use in {i['pool']}, "
        "and would keep the slot",
        "flavor": f"none of its servers is of a flavor that {i['owner']} can use",
    }
    if i["obstacle"] == "shortage":
        return f"Scaleway is short of {i['pool']} and would keep the slot ({override_text(i)})"
    return texts[str(i["obstacle"])]


def deferral(i: Inputs) -> str | None:
    """Who waits, and for what reason nobody is stopped for it."""
    return (
        f"{i['owner']} waits for its nominal quota in {i['pool']}, lent to {i['startup']}, but "
        f"{obstacle(i)}: {i['startup']} keeps running"
    )


def request(i: Inputs) -> str | None:
    """What became of a request, where its figures say so."""
    outcome, now_s = str(i["outcome"]), int(i["now_s"])
    if outcome == "fulfilled":
        enough = int(i["used_gpus"]) >= int(i["gpus"])
        return f"{i['startup']} runs what it asked for" if enough else None
    if outcome in _GONE:
        return _GONE[outcome]
    if outcome == "cohort":
        return "its cohort ended" if now_s >= int(i["ends_s"]) else None
    length_s = int(i["length_s"])
    if now_s < int(i["since_s"]) + length_s:
        return None
    fates = {
        "over": f"its {format_duration(length_s)} are over",
        "unmet": f"it was not met within {format_duration(length_s)}; ask again if it still "
        "matters",
    }
    return fates[outcome]


_GONE = {"startup": "its startup left the program", "pool": "its pool left the program"}
