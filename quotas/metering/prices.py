"""Prices of a flavor, to the program and to a startup: versions of its rate.

A version is in force until the next one. The first one also prices the time before it. What the
program pays follows every version and every believable listed price. What a startup is charged
follows the program's `prices`:

* fixed: the rate in force at the start of its cohort. A later version counts only if it is a
  correction (accepted from a past instant) in the startup's favour, or if startups bear it;
* follow: the rate in force at each second. A dearer version that is accepted late begins when it
  is recorded, unless startups bear it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from quotas.model.observation import Offer
from quotas.model.units import Period, format_credits

STARTUP, SPONSOR = "startup", "sponsor"
FACTOR_MAX = 2
"""A price that more than doubles, or falls below half, is absurd: an alarm, and accepted only if
an operator confirms it. Scaleway's changes are far smaller, and its mistakes (a missing digit,
a unit) far larger.
"""
LOWEST_UCR_PER_H, HIGHEST_UCR_PER_H = 100_000, 30_000_000
"""A GPU-hour outside 0.10 to 30 credits is a mistake: Scaleway once listed 0.01."""


@dataclass(frozen=True, slots=True)
class Version:
    """An accepted rate, in force from `from_s`; `bearer` bears what it adds to the past."""

    id: int
    from_s: int
    rate_ucr_per_h: int
    recorded_s: int
    bearer: str = SPONSOR
    source: str = "catalogue"

    @property
    def is_correction(self) -> bool:
        """Whether it was accepted for time that had passed."""
        return self.from_s < self.recorded_s


@dataclass(frozen=True, slots=True)
class Step:
    """A rate from an instant on, and the version that set it; 0 for a listed price."""

    from_s: int
    rate_ucr_per_h: int
    version: int = 0


@dataclass(frozen=True, slots=True)
class Prices:
    """Everything known of prices, by flavor. A flavor without a version has no accepted rate."""

    versions: Mapping[str, tuple[Version, ...]] = field(default_factory=dict)
    listings: Mapping[str, tuple[Step, ...]] = field(default_factory=dict)

    def in_force(self, flavor: str, at_s: int) -> Version | None:
        """The version in force at an instant; the first one before it; None without any."""
        versions = _ordered(self.versions.get(flavor, ()))
        past = [v for v in versions if v.from_s <= at_s]
        return past[-1] if past else next(iter(versions), None)

    def charged(self, flavor: str, fixed_at_s: int | None) -> tuple[Step, ...]:
        """What a startup is charged; `fixed_at_s` is its cohort's start, None if prices follow."""
        return charged_steps(self.versions.get(flavor, ()), fixed_at_s)

    def accepted(self, version: Version) -> tuple[Step, ...]:
        """Every version of the flavor that a version is of, whoever bears it."""
        own = next(each for each in self.versions.values() if version in each)
        return tuple(_steps(own))

    def paid(self, flavor: str) -> tuple[Step, ...]:
        """What the program pays: the newest of accepted versions and believable listings."""
        steps = [*self.listings.get(flavor, ()), *_steps(self.versions.get(flavor, ()))]
        return tuple(sorted(steps, key=lambda step: (step.from_s, step.version)))

    def known(self, version: int, listed_s: int) -> Prices:
        """What was known when version was the newest, and nothing was listed after an instant."""
        versions, listings = self.versions.items(), self.listings.items()
        return Prices(
            {flavor: tuple(v for v in each if v.id <= version) for flavor, each in versions},
            {flavor: tuple(s for s in each if s.from_s <= listed_s) for flavor, each in listings},
        )

    def listed_s(self, flavor: str) -> int:
        """When a flavor was last listed at a price of its own; 0 where it never was."""
        return max((step.from_s for step in self.listings.get(flavor, ())), default=0)

    @property
    def newest(self) -> int:
        """The number of the newest version: what a cycle priced with."""
        return max((v.id for versions in self.versions.values() for v in versions), default=0)


def _ordered(versions: Iterable[Version]) -> list[Version]:
    """By instant; of those for the same instant the last recorded only."""
    versions = list(versions)
    if len(versions) < 2:  # nearly every flavor has one, and a cycle asks for all
        return versions
    last = {v.from_s: v for v in sorted(versions, key=lambda each: each.id)}
    return [last[from_s] for from_s in sorted(last)]


def _steps(versions: Iterable[Version]) -> list[Step]:
    return [Step(v.from_s, v.rate_ucr_per_h, v.id) for v in _ordered(versions)]


def _borne(versions: Sequence[Version]) -> Iterable[Version]:
    """The versions without what a dearer one would add to the past as the new first version.

    The sponsor bears that, so the version begins when it was recorded, or never if a later
    version is in force by then.
    """
    kept: list[Version] = []
    for v in sorted(versions, key=lambda each: each.id):
        first = next(iter(_ordered(kept)), v)
        adds = v.from_s <= first.from_s and v.rate_ucr_per_h > first.rate_ucr_per_h
        if not (adds and v.is_correction and v.bearer == SPONSOR):
            kept.append(v)
        elif not any(v.from_s < other.from_s <= v.recorded_s for other in versions):
            kept.append(replace(v, from_s=v.recorded_s))
    return kept


def charged_steps(versions: Iterable[Version], fixed_at_s: int | None) -> tuple[Step, ...]:
    """The rates that a startup is charged, each from its instant on, in the order of time."""
    ordered = _ordered(_borne(tuple(versions)))
    steps: list[Step] = []
    for number, v in enumerate(ordered):
        if not steps:
            steps.append(Step(v.from_s, v.rate_ucr_per_h, v.id))
            continue
        mends = v.is_correction and v.rate_ucr_per_h < steps[-1].rate_ucr_per_h
        reaches_back = mends or v.bearer == STARTUP or not v.is_correction
        start_s = v.from_s if reaches_back else v.recorded_s
        ends_s = ordered[number + 1].from_s if number + 1 < len(ordered) else None
        if ends_s is not None and start_s >= ends_s:
            continue  # superseded before it could begin
        if fixed_at_s is None or start_s <= fixed_at_s or mends or v.bearer == STARTUP:
            steps.append(Step(start_s, v.rate_ucr_per_h, v.id))
    return tuple(steps)


def step_at(steps: Sequence[Step], at_s: int) -> Step:
    """The step in force at an instant; the first one before it."""
    past = [step for step in steps if step.from_s <= at_s]
    return past[-1] if past else steps[0]


def split_at_steps(steps: Sequence[Step], period: Period) -> list[tuple[Period, Step]]:
    """A period cut where its rate changes, each part with its step."""
    parts = period.split(step.from_s for step in steps)
    return [(part, step_at(steps, part.start_s)) for part in parts]


def is_absurd(rate_ucr_per_h: int, last_ucr_per_h: int) -> bool:
    """Whether a price is more than FACTOR_MAX times the last one, or less than that part."""
    return not last_ucr_per_h <= rate_ucr_per_h * FACTOR_MAX <= last_ucr_per_h * FACTOR_MAX**2


def price_fault(offer: Offer) -> str | None:
    """Why a listed price cannot be put in force; None if it can."""
    if offer.rate_ucr_per_h is None:
        return f"{offer.flavor} has no price"
    per_gpu = offer.rate_ucr_per_h // offer.gpus
    if not LOWEST_UCR_PER_H <= per_gpu <= HIGHEST_UCR_PER_H:
        return f"{offer.flavor} costs an absurd {format_credits(per_gpu)} per GPU and hour"
    return None


def is_believable(offer: Offer, rates_ucr_per_h: Mapping[str, int]) -> bool:
    """Whether a GPU type's listed price can be true: not missing, zero or far from its rate."""
    listed, rate = offer.rate_ucr_per_h, rates_ucr_per_h.get(offer.flavor)
    if not offer.gpus or listed is None or price_fault(offer) is not None:
        return False
    return rate is None or not is_absurd(listed, rate)


def price_alarms(offers: Iterable[Offer], rates_ucr_per_h: Mapping[str, int]) -> Iterable[str]:
    """What is wrong with listed prices: not believable, or not the rate in force."""
    for offer in sorted((o for o in offers if o.gpus), key=lambda each: each.flavor):
        fault, listed = price_fault(offer), offer.rate_ucr_per_h
        rate = rates_ucr_per_h.get(offer.flavor)
        if fault is not None or listed is None:
            yield fault or f"{offer.flavor} has no price"
        elif rate is not None and rate != listed:
            absurd = "an absurd " if is_absurd(listed, rate) else ""
            yield (
                f"{offer.flavor} is listed at {absurd}{format_credits(listed)} an hour, "
                f"charged at {format_credits(rate)}"
            )
