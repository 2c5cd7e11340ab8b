"""Answers of the API as text for a terminal; nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from quotas.messages.levels import LEVELS
from quotas.model.units import format_duration

Answer = Mapping[str, Any]
AMOUNTS = ("granted", "posted", "accrued", "held", "reserve")


def plain(text: object) -> str:
    """A text of the API on one line, without characters that control a terminal."""
    return "".join(c if c.isprintable() else " " for c in str(text))


def table(titles: Sequence[str], rows: Sequence[Sequence[object]], empty: str = "") -> str:
    """Rows under titles, in aligned columns; without rows, the text for that if there is one."""
    if empty and not rows:
        return empty
    cells = [list(titles), *([plain("-" if c is None else c) for c in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(titles))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in cells]
    return "\n".join(line.rstrip() for line in lines)


def credits_text(answer: Answer) -> str:
    """Credits left, with the level first."""
    runway = "nothing burns" if answer["runway_s"] is None else format_duration(answer["runway_s"])
    code = answer["level"]
    level = LEVELS[code].name if code in LEVELS else code  # a newer API may have more levels
    lines = [
        f"{answer['available']} credits available, {level}: {answer['level_reason']}",
        f"{'burn':12} {answer['burn_per_hour']} an hour; runway {runway}",
        *(f"{name:12} {answer[name]}" for name in AMOUNTS),
    ]
    if answer["pace"]:
        lines.append(f"{'pace':12} {answer['pace']['text']}")
    if (first := answer["expiring_next"]) is not None:
        expiry = f"{first['credits']} of {first['grant']} at {first['expires']}"
        lines.append(f"{'expires next':12} {expiry}")
    return "\n".join([*map(plain, lines), f"{'as of':12} {answer['as_of']}"])


def usage_text(answer: Answer) -> str:
    """GPUs that run, by pool, and their cost."""
    rows = [(each["pool"], each["gpus"], each["burn_per_hour"]) for each in answer["pools"]]
    cost = ", ".join(f"{answer[name]} {name}" for name in ("charged", "accrued", "unconfirmed"))
    return f"{answer['gpus']} GPUs; {cost}\n{table(('pool', 'GPUs', 'per hour'), rows)}"


def servers_text(answer: Answer) -> str:
    """Each billable server, with its countdown."""
    titles = ("server", "zone", "flavor", "GPUs", "state", "per hour", "stops in")
    rows = [
        (
            *(each["name"], each["zone"], each["flavor"], each["gpus"], each["state"]),
            each["credits_per_hour"],
            format_duration(each["stop"]["seconds_left"]) if each["stop"] else None,
        )
        for each in answer["items"]
    ]
    return table(titles, rows, "no server is billed now")


def quota_text(answer: Answer) -> str:
    """The startup's share of each pool."""
    names = ("pool", "nominal", "share", "ceiling", "usage", "headroom", "limited_by")
    rows = [[each[name] for name in names] for each in answer["items"]]
    reasons = [plain(f"{each['pool']}: {each['reason']}") for each in answer["items"]]
    return "\n".join([table(names, rows), *reasons])


def notices_text(answer: Answer) -> str:
    """Each notice with its deadline."""
    rows = [
        (n["id"], n["state"], n["deadline"], n["server_name"] or "all", n["rule"], n["text"])
        for n in answer["items"]
    ]
    titles = ("notice", "state", "deadline", "server", "rule", "text")
    return table(titles, rows, "no notice")


def requests_text(answer: Answer) -> str:
    """Each request and its state."""
    rows = [
        (r["id"], r["state"], r["pool"], r["gpus"], format_duration(r["duration_s"]), r["detail"])
        for r in answer["items"]
    ]
    titles = ("request", "state", "pool", "GPUs", "for", "detail")
    return table(titles, rows, "no request")


def statements_text(answer: Answer) -> str:
    """Each month."""
    rows = [
        (s["month"], s["opening"], s["charged"], s["closing"], "closed" if s["closed"] else "open")
        for s in answer["items"]
    ]
    titles = ("month", "opening", "charged", "closing", "")
    return table(titles, rows, "no month has begun")


def statement_text(answer: Answer) -> str:
    """One month, line by line."""
    rows = [("", "opening", answer["opening"], "")]
    for line in answer["lines"]:
        late = "late " if line["late"] else ""
        what = f"{line['flavor']} {line['seconds']} s" if line["server"] else line["kind"]
        why = f"{line['by']}: {line['reason']}" if line["reason"] else ""
        rows.append((line["at"], late + what, line["amount"], why))
    rows.append(("", "closing", answer["closing"], ""))
    closed = f"closed {answer['closed']}, hash {answer['hash']}"
    state = closed if answer["closed"] else "may still change"
    return f"{answer['month']} (UTC), {state}\n{table(('at', 'what', 'credits', 'why'), rows)}"


def explanation_text(answer: Answer) -> str:
    """The explanation of a decision."""
    inputs = ", ".join(f"{name} {value}" for name, value in sorted(answer["inputs"].items()))
    lines = [
        f"{answer['decision']}: {answer['at']} {answer['verb']} (rule {answer['rule']})",
        f"because {answer['reason']}",
        f"from {inputs or 'nothing written down'}; {answer['check']}",
        answer["counterfactual"],
        *answer["intents"],
        f"next: {answer['next_step']}",
        f"to change it: {answer['changed_by']}",
    ]
    return "\n".join(map(plain, lines))


def event_text(answer: Answer) -> str:
    """One event on a line."""
    if answer["notice"]:
        item = answer["notice"]
        about = f"notice {item['id']}, due {item['deadline']}: {item['text']}"
    else:
        item = answer["decision"]
        about = f"decision {item['id']}, {item['verb']}: {item['reason']}"
    return plain(f"{answer['at']} {about}")
