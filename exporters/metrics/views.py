"""Metrics of the program: they are read from the last published view, never from a table."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Iterator

from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from quotas.model.units import UCR_PER_CREDIT
from quotas.rules.context import Level
from quotas.state.notices import NoticeState
from quotas.view import StartupStatus, View

BALANCES = ("posted", "accrued", "held", "reserve", "available", "unconfirmed")


class ViewCollector(Collector):
    """Renders the last view at its first scrape and keeps the text."""

    def __init__(self) -> None:
        self.view: View | None = None
        self._text: tuple[View | None, bytes] = (None, b"")

    def collect(self) -> Iterator[Metric]:
        """Every family of the view; nothing before the first view."""
        view = self.view
        if view is not None:
            for part in (_credits, _paces, _gpus, _shares, _states, _notices, _closings):
                yield from part(view)

    def text(self) -> bytes:
        """The view in Prometheus's text format, rendered once: a view does not change."""
        view, text = self._text
        if view is not self.view:
            # Read the view first: one that arrives during the rendering waits for the next scrape.
            view = self.view
            text = generate_latest(self)
            self._text = (view, text)
        return text


def _credits(view: View) -> Iterable[Metric]:
    label_names = ["startup", "cohort"]
    balances = _family("balance_credits", "Credits by state.", [*label_names, "state"])
    granted = _family("granted_credits", "Credits granted to date.", label_names)
    charged = _family("charged_credits", "Credits charged to date.", label_names)
    burn = _family(
        "burn_credits_per_hour", "Credits that running servers cost an hour.", label_names
    )
    exhausted = _family(
        "exhaustion_timestamp_seconds",
        "When available credits reach zero at this burn.",
        label_names,
    )
    for startup in view.status.startups:
        balance, labels = startup.balance, _labels_of(startup)
        amounts = (
            balance.posted_ucr,
            balance.accrued_ucr,
            balance.held_ucr,
            balance.reserve_ucr,
            balance.available_ucr,
            startup.unconfirmed_ucr,
        )
        for state, amount_ucr in zip(BALANCES, amounts, strict=True):
            _add(balances, {**labels, "state": state}, amount_ucr / UCR_PER_CREDIT)
        _add(granted, labels, balance.granted_ucr / UCR_PER_CREDIT)
        _add(charged, labels, startup.charged_ucr / UCR_PER_CREDIT)
        _add(burn, labels, balance.burn_ucr_per_h / UCR_PER_CREDIT)
        if balance.exhausted_s is not None:
            _add(exhausted, labels, balance.exhausted_s)
    overdraft = _family(
        "overdraft_credits",
        "Usage that the sponsor paid beyond grants.",
        ["cohort"],
    )
    by_cohort = Tally(
        {startup.cohort_name: 0 for startup in view.status.startups if startup.cohort_name}
    )
    for cohort, amount_ucr in view.status.overdraft.items():
        by_cohort[cohort] += amount_ucr
    for cohort, amount_ucr in sorted(by_cohort.items()):
        overdraft.add_metric([cohort], amount_ucr / UCR_PER_CREDIT)
    return [balances, granted, charged, burn, exhausted, overdraft, *_expiring(view)]


def _expiring(view: View) -> Iterable[Metric]:
    label_names = ["startup", "cohort"]
    amounts = _family(
        "expiring_credits",
        "Credits that the next end of a grant takes if nothing more burns.",
        label_names,
    )
    instants = _family("expiry_timestamp_seconds", "When those credits expire.", label_names)
    for startup in view.status.startups:
        balance, labels = startup.balance, _labels_of(startup)
        first = balance.expiring
        _add(amounts, labels, (first.amount_ucr if first else 0) / UCR_PER_CREDIT)
        if first is not None:
            _add(instants, labels, first.at_s)
    return [amounts, instants]


def _gpus(view: View) -> Iterable[Metric]:
    used = _family(
        "usage_gpus", "GPUs of billable servers.", ["startup", "cohort", "pool", "flavor"]
    )
    capacity = _family("pool_gpus", "GPUs that a pool has now.", ["pool"])
    for startup in view.status.startups:
        tally: Tally[str] = Tally()
        for run in startup.runs:
            tally[run.flavor] += run.gpus
        for flavor, gpus in sorted(tally.items()):
            pool = view.status.program.pool_of(flavor)
            name = pool.name if pool else ""
            used.add_metric([startup.name, startup.cohort_name, name, flavor], gpus)
    for each in view.status.pools:
        capacity.add_metric([each.name], each.gpus)
    return [used, capacity, _standby(view)]


def _standby(view: View) -> Metric:
    standby = _family(
        "standby_gpus", "GPUs that are stopped in place and billed.", ["startup", "cohort"]
    )
    for startup in view.status.startups:
        gpus = sum(run.gpus for run in startup.runs if run.state.startswith("stopped"))
        _add(standby, _labels_of(startup), gpus)
    return standby


def _shares(view: View) -> Iterable[Metric]:
    texts = {
        "nominal": "GPUs guaranteed to a startup.",
        "share": "GPUs of the division at current demands.",
        "ceiling": "GPUs a startup may run now.",
        "borrowed": "GPUs of the share above nominal.",
        "lent": "GPUs of the nominal quota that others use.",
        "demand": "GPUs in use or requested, whichever is more.",
        "overuse": "GPUs that run above the share.",
    }
    labelled = [({"startup": each.startup, "pool": each.pool}, each) for each in view.status.shares]
    for name, text in texts.items():
        family = _family(f"{name}_gpus", text, ["startup", "pool"])
        for labels, share in labelled:
            _add(family, labels, getattr(share, name))
        yield family
    waiting = _family("requests_open", "Requests that wait to be fulfilled.", ["startup", "pool"])
    tally = Tally(
        (each.request.startup, each.request.pool) for each in view.status.requests if each.place
    )
    for (startup, pool), count in sorted(tally.items()):
        waiting.add_metric([startup, pool], count)
    yield waiting
    text = "GPUs that owners wait for and that the provider would keep."
    deferred = _family("reclaim_deferred_gpus", text, ["pool"])
    for each in view.status.pools:
        deferred.add_metric([each.name], view.deferred_gpus.get(each.name, 0))
    yield deferred


def _paces(view: View) -> Iterable[Metric]:
    label_names = ["startup", "cohort"]
    allowance = _family("allowance_credits", "Credits paced to date.", label_names)
    burn = _family(
        "recent_burn_credits_per_hour",
        "Credits burnt an hour over the window.",
        [*label_names, "window"],
    )
    unused = _family(
        "forecast_unused_credits",
        "Forecast of credits left at the cohort's end.",
        [*label_names, "bound"],
    )
    ahead = _family(
        "ahead_of_pace",
        "1 if a startup has spent more than its allowance for tomorrow.",
        label_names,
    )
    for startup in view.status.startups:
        pace, labels = startup.pace, [startup.name, startup.cohort_name]
        if pace is None:
            continue
        allowance.add_metric(labels, pace.allowance_ucr / UCR_PER_CREDIT)
        ahead.add_metric(labels, int(pace.is_ahead))
        for window, rate_ucr in zip(("1h", "24h", "7d"), pace.burn_ucr_per_h, strict=True):
            burn.add_metric([*labels, window], rate_ucr / UCR_PER_CREDIT)
        left = pace.unused
        bounds = {"low": left.low_ucr, "expected": left.expected_ucr, "high": left.high_ucr}
        for bound, amount_ucr in bounds.items():
            unused.add_metric([*labels, bound], amount_ucr / UCR_PER_CREDIT)
    return [allowance, burn, unused, ahead]


def _states(view: View) -> Iterable[Metric]:
    level = _family(
        "level", "1 for the level of a startup, else 0.", ["startup", "cohort", "level"]
    )
    for startup in view.status.startups:
        labels = _labels_of(startup)
        for name in Level:
            _add(level, {**labels, "level": name}, 1 if startup.level == name else 0)
    zone = _family("zone_complete", "1 if the last sweep was Complete, else 0.", ["cloud_zone"])
    known = _family(
        "zone_confirmed_timestamp_seconds", "Instant up to which a zone is known.", ["cloud_zone"]
    )
    for each in view.zones:
        zone.add_metric([each.name], 1 if each.outcome == "complete" else 0)
        if each.confirmed_until_s is not None:
            known.add_metric([each.name], each.confirmed_until_s)
    latency = _family("stop_latency_seconds", "Measured time of a stop.", ["flavor"])
    for flavor, seconds in sorted(view.status.stop_latency_s.items()):
        latency.add_metric([flavor], seconds)
    return [level, zone, known, latency]


def _notices(view: View) -> Iterable[Metric]:
    """Open notices, failing stops and alarms."""
    stop = _family(
        "next_stop_timestamp_seconds", "Deadline of the first open notice.", ["startup", "cohort"]
    )
    cohort_of = {startup.name: startup.cohort_name for startup in view.status.startups}
    open_notices = [notice for notice in view.status.notices if notice.state is NoticeState.OPEN]
    first_s: dict[str, int] = {}
    for notice in open_notices:
        name = notice.startup
        first_s[name] = min(notice.deadline_s, first_s.get(name, notice.deadline_s))
    for name, deadline_s in sorted(first_s.items()):
        stop.add_metric([name, cohort_of.get(name, "")], deadline_s)
    yield stop
    figures = {
        "notices_open": ("Notices before a stop that are open.", len(open_notices)),
        "stops_failing": ("Servers past their deadline that do not stop.", view.stops_failing),
        "stops_deferred": (
            "Stops that wait for the disruption budget.",
            view.status.stops_deferred,
        ),
        "maintenance": (
            "1 while an operator has put cohortd in maintenance.",
            view.status.in_maintenance,
        ),
        "intents_live": (
            "Intents that were decided and have not ended.",
            sum(intent.is_live for intent in view.intents),
        ),
        "active_alarms": ("Alarms that cohortd status shows now.", len(view.alarms)),
        "price_alarms": ("Prices that are missing, absurd or changed.", view.price_alarms),
        "lease_epoch": ("Epoch of the lease that wrote the view.", view.epoch),
    }
    for name, (text, value) in figures.items():
        family = _family(name, text, [])
        family.add_metric([], value)
        yield family


def _closings(view: View) -> Iterable[Metric]:
    label_names = ["startup", "cohort"]
    cohorts = {startup.name: startup.cohort_name for startup in view.status.startups}
    found = {each.startup: each for each in view.status.closings}
    revoked = _family(
        "iam_rules_revoked", "1 while IAM rules of a startup are revoked.", label_names
    )
    failures = _family(
        "iam_change_failures",
        "Failed tries in a row to close or reopen a startup by IAM.",
        label_names,
    )
    for name in sorted(cohorts.keys() | found.keys()):
        labels, each = {"startup": name, "cohort": cohorts.get(name, "")}, found.get(name)
        _add(revoked, labels, 1 if each and each.has_revoked_rules else 0)
        _add(failures, labels, each.failures if each else 0)
    return [revoked, failures]


def _labels_of(startup: StartupStatus) -> dict[str, str]:
    return {"startup": startup.name, "cohort": startup.cohort_name}


def _add(family: GaugeMetricFamily, labels: dict[str, str], value: float) -> None:
    # add_metric would build the labels again for each family, the largest cost of a first scrape.
    family.samples.append(Sample(family.name, labels, value))


def _family(name: str, text: str, labels: list[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"cohortd_{name}", text, labels=labels)
