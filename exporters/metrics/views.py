"""Metrics of the program: they are read from the last published view, never from a table."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from quotas.model.units import UCR_PER_CREDIT
from quotas.rules.context import Level
from quotas.state.notices import NoticeState
from quotas.view import StartupStatus, View

BALANCES = ("posted", "accrued", "held", "reserve", "available", "unconfirmed")
Labels = dict[str, str]
Values = Mapping[str, int]


class ViewCollector(Collector):
    """Renders the last view at its first scrape and keeps the text."""

    def __init__(self) -> None:
        self.view: View | None = None
        self._text: tuple[View | None, bytes] = (None, b"")

    def collect(self) -> Iterator[Metric]:
        """Every family of the view; nothing before the first view."""
        view = self.view
        if view is not None:
            for part in (_startups, _gpus, _shares, _zones, _stops, _program):
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


def _startups(view: View) -> Iterator[Metric]:
    startups = [(_labels_of(each), each) for each in view.status.startups]

    def figure(name: str, text: str, of: Callable[[StartupStatus], int | None]) -> Metric:
        return _family(name, text, ((labels, of(startup)) for labels, startup in startups))

    def series(name: str, text: str, label: str, of: Callable[[StartupStatus], Values]) -> Metric:
        samples = (
            ({**labels, label: key}, value)
            for labels, startup in startups
            for key, value in of(startup).items()
        )
        return _family(name, text, samples)

    yield series("balance_credits", "Credits by state.", "state", _balances_ucr)
    yield figure("granted_credits", "Credits granted to date.", lambda s: s.balance.granted_ucr)
    yield figure("charged_credits", "Credits charged to date.", lambda s: s.charged_ucr)
    text = "Credits that running servers cost an hour."
    yield figure("burn_credits_per_hour", text, lambda s: s.balance.burn_ucr_per_h)
    text = "When available credits reach zero at this burn."
    yield figure("exhaustion_timestamp_seconds", text, lambda s: s.balance.exhausted_s)
    text = "Credits that the next end of a grant takes if nothing more burns."
    yield figure("expiring_credits", text, _expiring_ucr)
    yield figure("expiry_timestamp_seconds", "When those credits expire.", _expiry_s)
    text = "GPUs that are stopped in place and billed."
    yield figure("standby_gpus", text, _standby_gpus)
    text = "1 for the level of a startup, else 0."
    yield series("level", text, "level", lambda s: {name: s.level == name for name in Level})
    text = "Credits paced to date."
    yield figure("allowance_credits", text, lambda s: s.pace.allowance_ucr if s.pace else None)
    text = "1 if a startup has spent more than its allowance for tomorrow."
    yield figure("ahead_of_pace", text, lambda s: s.pace.is_ahead if s.pace else None)
    text = "Credits burnt an hour over the window."
    yield series("recent_burn_credits_per_hour", text, "window", _burn_ucr_per_h)
    text = "Forecast of credits left at the cohort's end."
    yield series("forecast_unused_credits", text, "bound", _unused_ucr)


def _balances_ucr(startup: StartupStatus) -> Values:
    amounts = {name: getattr(startup.balance, f"{name}_ucr") for name in BALANCES[:-1]}
    return {**amounts, BALANCES[-1]: startup.unconfirmed_ucr}


def _expiring_ucr(startup: StartupStatus) -> int:
    return startup.balance.expiring.amount_ucr if startup.balance.expiring else 0


def _expiry_s(startup: StartupStatus) -> int | None:
    return startup.balance.expiring.at_s if startup.balance.expiring else None


def _standby_gpus(startup: StartupStatus) -> int:
    return sum(run.gpus for run in startup.runs if run.state.startswith("stopped"))


def _burn_ucr_per_h(startup: StartupStatus) -> Values:
    pace = startup.pace
    return dict(zip(("1h", "24h", "7d"), pace.burn_ucr_per_h, strict=True)) if pace else {}


def _unused_ucr(startup: StartupStatus) -> Values:
    if startup.pace is None:
        return {}
    unused = startup.pace.unused
    return {"low": unused.low_ucr, "expected": unused.expected_ucr, "high": unused.high_ucr}


def _gpus(view: View) -> Iterator[Metric]:
    used: list[tuple[Labels, int]] = []
    for startup in view.status.startups:
        tally: Tally[str] = Tally()
        for run in startup.runs:
            tally[run.flavor] += run.gpus
        for flavor, gpus in sorted(tally.items()):
            pool = view.status.program.pool_of(flavor)
            labels = {"pool": pool.name if pool else "", "flavor": flavor}
            used.append(({**_labels_of(startup), **labels}, gpus))
    yield _family("usage_gpus", "GPUs of billable servers.", used)
    capacity = {pool.name: pool.gpus for pool in view.status.pools}
    yield _by_name("pool_gpus", "GPUs that a pool has now.", "pool", capacity)
    text = "GPUs that owners wait for and that the provider would keep."
    deferred = {pool: view.deferred_gpus.get(pool, 0) for pool in capacity}
    yield _by_name("reclaim_deferred_gpus", text, "pool", deferred)


SHARES = {
    "nominal": "GPUs guaranteed to a startup.",
    "share": "GPUs a startup gets at current demands.",
    "ceiling": "GPUs a startup may run now.",
    "borrowed": "GPUs of the share above nominal.",
    "lent": "GPUs of the nominal quota that others use.",
    "demand": "GPUs in use or requested, whichever is more.",
    "overuse": "GPUs that run above the share.",
}


def _shares(view: View) -> Iterator[Metric]:
    labelled = [({"startup": each.startup, "pool": each.pool}, each) for each in view.status.shares]
    for name, text in SHARES.items():
        yield _family(f"{name}_gpus", text, ((to, getattr(each, name)) for to, each in labelled))
    waiting = [each.request for each in view.status.requests if each.place]
    tally = Tally((each.startup, each.pool) for each in waiting)
    counts = (({"startup": s, "pool": pool}, n) for (s, pool), n in sorted(tally.items()))
    yield _family("requests_open", "Requests that wait to be fulfilled.", counts)


def _zones(view: View) -> Iterator[Metric]:
    complete = {zone.name: zone.outcome == "complete" for zone in view.zones}
    text = "1 if the last sweep was Complete, else 0."
    yield _by_name("zone_complete", text, "cloud_zone", complete)
    known_s = {zone.name: zone.confirmed_until_s for zone in view.zones}
    text = "Instant up to which a zone is known."
    yield _by_name("zone_confirmed_timestamp_seconds", text, "cloud_zone", known_s)
    latencies = dict(sorted(view.status.stop_latency_s.items()))
    yield _by_name("stop_latency_seconds", "Measured time of a stop.", "flavor", latencies)


def _stops(view: View) -> Iterator[Metric]:
    """The next stop of each startup, and what Scaleway's IAM refuses it."""
    cohorts = {startup.name: startup.cohort_name for startup in view.status.startups}

    def labels_of(name: str) -> Labels:
        return {"startup": name, "cohort": cohorts.get(name, "")}

    first_s: dict[str, int] = {}
    for notice in view.status.notices:
        if notice.state is NoticeState.OPEN:
            name = notice.startup
            first_s[name] = min(notice.deadline_s, first_s.get(name, notice.deadline_s))
    deadlines = ((labels_of(name), at_s) for name, at_s in sorted(first_s.items()))
    yield _family("next_stop_timestamp_seconds", "Deadline of the first open notice.", deadlines)
    found = {each.startup: each for each in view.status.closings}
    closings = [(labels_of(n), found.get(n)) for n in sorted(cohorts.keys() | found.keys())]
    revoked = ((labels, bool(each and each.has_revoked_rules)) for labels, each in closings)
    yield _family("iam_rules_revoked", "1 while IAM rules of a startup are revoked.", revoked)
    failures = ((labels, each.failures if each else 0) for labels, each in closings)
    text = "Failed tries in a row to close or reopen a startup by IAM."
    yield _family("iam_change_failures", text, failures)


def _program(view: View) -> Iterator[Metric]:
    status = view.status
    overdraft = Tally({each.cohort_name: 0 for each in status.startups if each.cohort_name})
    overdraft.update(status.overdraft)
    text = "Usage that the sponsor paid beyond grants."
    yield _by_name("overdraft_credits", text, "cohort", dict(sorted(overdraft.items())))
    is_open = [notice.state is NoticeState.OPEN for notice in status.notices]
    is_live = [intent.is_live for intent in view.intents]
    maintenance = "1 while an operator has put cohortd in maintenance."
    for name, text, value in (
        ("notices_open", "Notices before a stop that are open.", sum(is_open)),
        ("stops_failing", "Servers past their deadline that do not stop.", view.stops_failing),
        ("stops_deferred", "Stops that wait for the disruption budget.", status.stops_deferred),
        ("maintenance", maintenance, status.in_maintenance),
        ("intents_live", "Intents that were decided and have not ended.", sum(is_live)),
        ("active_alarms", "Alarms that cohortd status shows now.", len(view.alarms)),
        ("price_alarms", "Prices that are missing, absurd or changed.", view.price_alarms),
        ("lease_epoch", "Epoch of the lease that wrote the view.", view.epoch),
    ):
        yield _family(name, text, [({}, value)])


def _labels_of(startup: StartupStatus) -> Labels:
    return {"startup": startup.name, "cohort": startup.cohort_name}


def _by_name(name: str, text: str, label: str, values: Mapping[str, int | None]) -> Metric:
    return _family(name, text, (({label: key}, value) for key, value in values.items()))


def _family(name: str, text: str, samples: Iterable[tuple[Labels, int | None]]) -> Metric:
    """A gauge with a sample for each value; a value of None is left out.

    Values of a metric whose name says credits are in micro-credits.
    """
    family = GaugeMetricFamily(f"cohortd_{name}", text)
    divisor = UCR_PER_CREDIT if "credits" in name else 1
    # add_metric would build the labels again for each family, the largest cost of a first scrape.
    family.samples = [
        Sample(family.name, labels, value / divisor)
        for labels, value in samples
        if value is not None
    ]
    return family
