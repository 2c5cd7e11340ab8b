"""Scripts: everything that happens in a play, as data, drawn from a seed.

Each actor has its own stream of chance. A script is the whole play before it begins: program,
events, windows of faults, and dice for crashes. It is JSON both ways, and any part of it may be
dropped: that is how a failing seed shrinks to a small regression.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from quotas.model.units import DAY_S, HOUR_S

from ..ahead import aheads
from . import catalogue_faults, iam_edits, milestones
from .events import (
    BIG,
    CALLS,
    DICE,
    HEALED_S,
    NAMES,
    POINTS,
    READS,
    SMALL,
    START_S,
    ZONES,
    Event,
    Window,
)
from .lending import lendings
from .people import people

__all__ = [
    "BIG",
    "NAMES",
    "POINTS",
    "SMALL",
    "START_S",
    "ZONES",
    "Event",
    "Script",
    "Window",
    "draw",
]


@dataclass(frozen=True, slots=True)
class Script:
    """A play: `dice` are chances per point of a cycle, `daemons` how many share the book."""

    seed: int
    days: int
    mode: str
    capacity: int
    limits: tuple[int | None, ...]
    nominal: tuple[int, ...]
    credits: tuple[tuple[int, ...], ...]
    poll_s: tuple[int, int]
    daemons: int
    dice: dict[str, float]
    windows: tuple[Window, ...]
    events: tuple[Event, ...]
    tranches: tuple[str, ...] = ()
    resumes: tuple[bool, ...] = ()
    answers: float = 0.0
    """The chance that somebody acknowledges a notice, or snoozes it."""
    milestones: tuple[tuple[int, ...], ...] = ()
    """For each startup the terms of its milestones, on the real book; see `milestones`."""
    iam: bool = False
    """Whether the daemon has a key for IAM, on the real book."""
    hasty: float = 0.0
    """The chance that somebody edits a policy soon after it was narrowed."""

    @property
    def start_s(self) -> int:
        """When the cohort and the play start."""
        return START_S

    @property
    def end_s(self) -> int:
        """When the cohort ends."""
        return START_S + self.days * DAY_S

    @property
    def healed_s(self) -> int:
        """The instant after which nothing goes wrong."""
        return self.end_s - HEALED_S

    def days_of(self, grant: str) -> int:
        """For how many days an operator's grant lasts."""
        return next(e.args[3] for e in self.events if e.verb == "grant" and e.args[1] == grant)

    def to_json(self) -> str:
        """The script as text, for a file of its own."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Script:
        """The script that `to_json` wrote."""
        body = json.loads(text)
        tuples = {k: _tupled(v) for k, v in body.items() if isinstance(v, list)}
        body |= tuples
        body["windows"] = tuple(Window(**each) for each in body["windows"])
        body["events"] = tuple(
            Event(**{**each, "args": _tupled(each["args"])}) for each in body["events"]
        )
        return cls(**body)

    def without_faults(self) -> Script:
        """The same world and people without faults."""
        calm = tuple(e for e in self.events if e.who != "clock")
        return replace(self, dice={}, windows=(), events=calm, daemons=1)


def _tupled(value: Any) -> Any:
    return tuple(_tupled(each) for each in value) if isinstance(value, list) else value


def draw(seed: int, days: int = 183, *, calm: bool = False) -> Script:
    """The script of a seed; seed 0, or a calm one, has no faults."""
    rng = random.Random(f"{seed}/program")
    until_s = START_S + days * DAY_S
    healed_s = until_s - HEALED_S
    poor = days / 183
    terms = random.Random(f"{seed}/terms")
    events = tuple(sorted(_events(seed, until_s, healed_s), key=lambda e: e.at_s))
    last = (*catalogue_faults.windows(seed, events, healed_s), *_across_the_end(seed, until_s))
    script = Script(
        seed=seed,
        days=days,
        mode="shadow" if rng.random() < 0.06 else "enforce",
        capacity=rng.choice([12, 24, 40, 40]),
        limits=tuple(rng.choice([None, None, None, 8, 4]) for _ in NAMES),
        nominal=tuple(rng.choice([0, 4, 8]) for _ in NAMES),
        credits=tuple(
            tuple(int(rng.choice([900, 4_000, 20_000, 90_000]) * poor) + 20 for _ in range(2))
            for _ in NAMES
        ),
        poll_s=rng.choice([(6 * HOUR_S, 12 * HOUR_S), (6 * HOUR_S, 9 * HOUR_S)]),
        daemons=2 if random.Random(f"{seed}/daemons").random() < 0.2 else 1,
        dice=_dice(seed),
        windows=(*_windows(seed, healed_s), *iam_edits.windows(seed, healed_s), *last),
        events=events,
        tranches=tuple(terms.choice(["", "", "all", "half"]) for _ in NAMES),
        resumes=tuple(terms.random() < 0.4 for _ in NAMES),
        answers=terms.choice([0.0, 0.1, 0.5]),
        milestones=milestones.terms(seed, until_s),
        iam=iam_edits.has_key(seed),
        hasty=iam_edits.hasty(seed),
    )
    lent = lendings(seed, script.capacity, script.nominal, script.limits, healed_s)
    taken = aheads(seed, script.tranches, healed_s)
    events = tuple(sorted((*script.events, *lent, *taken), key=lambda e: e.at_s))
    script = replace(script, events=events)
    return script.without_faults() if calm or seed == 0 else script


def _dice(seed: int) -> dict[str, float]:
    """Each chance is 0 for half of the seeds."""
    rng = random.Random(f"{seed}/dice")
    return {kind: rng.choice([0.0, rng.choice([0.002, 0.01])]) for kind in DICE}


def _windows(seed: int, healed_s: int) -> Iterator[Window]:
    """Each kind is off for half of the seeds; the windows last minutes to hours."""
    for kind in (*READS, *CALLS):
        rng = random.Random(f"{seed}/windows/{kind}")
        if rng.random() < 0.5:
            continue
        days = (healed_s - START_S) // DAY_S
        # One key serves every zone, so a refusal holds in all of them.
        for zones in (ZONES,) if kind == "key-refused" else ((zone,) for zone in ZONES):
            for _ in range(rng.randint(1, max(2, days // 12))):
                from_s = rng.randrange(START_S, healed_s)
                length_s = int(60 * 2 ** rng.uniform(2, 11))
                until_s = min(from_s + length_s, healed_s)
                yield from (Window(kind, zone, from_s, until_s) for zone in zones)


def _across_the_end(seed: int, end_s: int) -> Iterator[Window]:
    """In some scripts a zone is out when the program ends, and for hours after that."""
    rng = random.Random(f"{seed}/windows/end")
    if rng.random() < 0.25:
        from_s = end_s - rng.randrange(600, 12 * HOUR_S)
        yield Window("outage", rng.choice(ZONES[1:]), from_s, end_s + rng.randrange(3 * HOUR_S))


def _events(seed: int, until_s: int, healed_s: int) -> Iterator[Event]:
    for name in NAMES:
        own = _of_startup(random.Random(f"{seed}/{name}"), name, until_s)
        yield from (event for event in own if event.at_s < until_s)
    yield from _of_provider(random.Random(f"{seed}/provider"), healed_s)
    yield from _of_operator(random.Random(f"{seed}/operator"), healed_s)
    yield from _of_clock(random.Random(f"{seed}/clock"), healed_s)
    yield from people(seed, healed_s)
    yield from milestones.confirmations(seed, until_s, healed_s)
    if iam_edits.has_key(seed):
        yield from iam_edits.edits(seed, healed_s, until_s)


HABITS = ("steady", "bursts", "bounces", "resizes", "cheats", "guest", "recreates")


def _of_startup(rng: random.Random, name: str, until_s: int) -> Iterator[Event]:
    """How a startup uses servers; each runs for some hours to days."""
    habit = rng.choice(HABITS)
    slots = rng.randint(1, 3)
    busy = rng.choice([1, 2])
    for slot in range(slots):
        kind = rng.choice(SMALL if slot or habit in ("bursts", "guest") else SMALL + BIG)
        zone = rng.choice([ZONES[1], ZONES[1], ZONES[2]]) if kind in SMALL else ZONES[1]
        at_s = START_S + rng.randrange(-DAY_S, 9 * DAY_S)
        while at_s < until_s:
            on_s = int(HOUR_S * 2 ** rng.uniform(0, 6.5))
            yield Event(max(at_s, START_S), name, "on", (zone, slot, kind))
            yield from _while_on(rng, habit, name, (zone, slot), at_s, on_s)
            at_s += on_s
            last = "guest" if habit == "guest" and rng.random() < 0.5 else "off"
            yield Event(max(at_s, START_S) + 1, name, last, (zone, slot))
            if last == "guest":
                at_s += int(HOUR_S * 2 ** rng.uniform(-2, 4))
                yield Event(max(at_s, START_S) + 2, name, "off", (zone, slot))
            if habit == "resizes":
                kind = rng.choice(SMALL)
                yield Event(max(at_s, START_S) + 900, name, "resize", (zone, slot, kind))
            if habit == "recreates" and rng.random() < 0.5:
                yield Event(max(at_s, START_S) + 600, name, "delete", (zone, slot))
            at_s += int(HOUR_S * 2 ** rng.uniform(1.5, 8) / busy)


def _while_on(
    rng: random.Random, habit: str, name: str, slot: tuple[str, int], at_s: int, on_s: int
) -> Iterator[Event]:
    """What a startup does with a running server: it reboots or starts it again."""
    moments = [at_s + rng.randrange(on_s) for _ in range(3 if habit == "cheats" else 1)]
    for moment_s in moments:
        if moment_s <= START_S + 120:
            continue
        if habit == "bounces":
            yield Event(moment_s, name, "off", slot)
            yield Event(moment_s + rng.choice([60, 200, 1_200, 5_000]), name, "again", slot)
        elif habit == "cheats":
            yield Event(moment_s, name, "again", slot)
        elif rng.random() < 0.1:
            yield Event(moment_s, name, rng.choice(["touch", "reboot"]), slot)


def _of_provider(rng: random.Random, healed_s: int) -> Iterator[Event]:
    """Shortages, prices, and servers that are locked or stuck in stopping."""
    for _ in range(rng.choice([0, 1, 3])):
        at_s = rng.randrange(START_S, healed_s)
        yield Event(at_s, "provider", "shortage", (rng.choice([0, 4]),))
        yield Event(min(at_s + rng.randint(1, 72) * HOUR_S, healed_s), "provider", "plenty")
    for _ in range(rng.choice([0, 2])):
        kind, times = rng.choice(SMALL + BIG), rng.choice([80, 105, 130])
        yield Event(rng.randrange(START_S, healed_s), "provider", "price", (kind, times))
    for _ in range(rng.choice([0, 2, 5])):
        at_s, length_s = rng.randrange(START_S, healed_s), rng.randint(300, 9 * HOUR_S)
        name = rng.choice(NAMES)
        yield Event(at_s, "provider", "lock", (name,))
        yield Event(min(at_s + length_s, healed_s), "provider", "unlock", (name,))
    for _ in range(rng.choice([0, 3])):
        at_s = rng.randrange(START_S, healed_s)
        until_s = min(at_s + rng.randint(600, 4 * HOUR_S), healed_s)
        yield Event(at_s, "provider", "stick", (rng.choice(ZONES), until_s))


def _of_operator(rng: random.Random, healed_s: int) -> Iterator[Event]:
    """Grants, voids, requests, overrides and changed program files."""
    for number in range(rng.choice([0, 2, 6])):
        at_s, name = rng.randrange(START_S, healed_s), rng.choice(NAMES)
        days, credits = rng.choice([5, 30, 400]), rng.choice([50, 800, 9_000])
        yield Event(at_s, "operator", "grant", (name, f"extra-{number}", credits, days))
        if rng.random() < 0.3:
            yield Event(at_s + DAY_S, "operator", "void", (name, f"extra-{number}"))
    for _ in range(rng.choice([0, 1, 3])):
        at_s, name = rng.randrange(START_S, healed_s), rng.choice(NAMES)
        back_s = rng.choice([2 * HOUR_S, 3 * DAY_S])
        yield Event(at_s, "operator", "refund", (name, back_s))
    for _ in range(rng.choice([0, 3, 8])):
        at_s, name = rng.randrange(START_S, healed_s), rng.choice(NAMES)
        yield Event(at_s, "operator", "request", (name, rng.choice([4, 8, 16]), 2 * DAY_S))
    for verb, args in (("cut", (8,)), ("join", ("fir",)), ("leave", ("elder",)), ("pass", ())):
        if rng.random() < 0.2:
            yield Event(rng.randrange(START_S + DAY_S, healed_s), "operator", verb, args)


def _of_clock(rng: random.Random, healed_s: int) -> Iterator[Event]:
    """Steps of the daemon's wall clock, reversed some hours later."""
    for _ in range(rng.choice([0, 0, 1, 3])):
        at_s = rng.randrange(START_S + DAY_S, healed_s - DAY_S)
        step_s = rng.choice([-3_600, -90, 30, 600, 3_600])
        yield Event(at_s, "clock", "step", (step_s,))
        yield Event(at_s + rng.randint(1, 20) * HOUR_S, "clock", "step", (-step_s,))
