"""Runs: the stretches in which servers were billable, from complete sweeps of their zones.

Theory of operation

A zone is known up to its last Complete sweep (`confirmed_s`). `meter` moves a zone to the next
Complete sweep (`at_s`) and skips a zone that is Partial or Unknown. A quiet cycle and the first
sweep after an outage of a day follow the same rules. The only evidence about the time between two
sweeps is the state in the second one, and the instant of its last change (`modified_s`):

* Two sweeps are close if no server can go off and on again between them (40 s). Between close
  sweeps, a transition happened at `modified_s`, if that lies between them. Otherwise it is dated
  in the startup's favour: a start when it was first seen, an end when it was last confirmed.
* Between distant sweeps, `modified_s` only says that something changed, and a rename is enough. A
  server that is on is charged from `modified_s`, and the time before that is unconfirmed. A server
  that went off is charged until it was last confirmed, and the time from there to `modified_s` is
  unconfirmed. If cohortd powered the server off itself, the instant of that call dates the end.
* A server that starts after `at_s` and before its answer was read (`read_s`) is first seen, and
  charged, from its `modified_s`.
* A server that is on at both sweeps ran all the while, and one that is off did not run, unless it
  was modified so late that it may have gone off and on again.
* A server that is gone ended when it was last confirmed.

Invariants

* A second of a server is in one run at most, and a run has one owner and one rate. If the owner
  or the rate changes, the run is cut, and `up_since_s` and `started_by` keep the real start.
* A zone's `confirmed_s` never moves back, and nothing later than it is charged. If the clock
  steps back, nothing is metered until time passes `confirmed_s` again.
* A run without an accepted rate is metered. It is charged from its start once it has a rate.
* The result does not depend on how time is divided into cycles.

Rejected: to count samples (a charge would depend on the cycle), and to charge unconfirmed time
and refund it later (a startup would be stopped for credits that it still has).

Warning: the cases of `_Zone._follow` are ordered. An end, a new flavor and a new project come
before the doubt about a bounce.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from quotas.metering.prices import Prices
from quotas.model.observation import Complete, Server, Sweep
from quotas.model.program import Program, Startup
from quotas.model.units import Period, cost_ucr

SHORTEST_BOUNCE_S = 40
"""No GPU server was ever recorded to stop and start again in less (scaleway/facts.md 2.1)."""
NO_POWEROFFS: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Run:
    """An uninterrupted billable stretch of one server, owned by one startup at one rate.

    `rate_ucr_per_h` is None while no accepted price is known: metered, not yet charged.
    `start_error_s` and `end_error_s` bound how far the true edges may lie outside.

    A rate, an owner or an outage that cuts a run moves only `start_s`, from which it is charged.
    Rules read since when the server is on (`up_since_s`, as far as is known), and who owned it
    then (`started_by`; empty if nobody of the program).
    """

    id: str
    server_id: str
    server_name: str
    zone: str
    project_id: str
    startup: str
    flavor: str
    gpus: int
    rate_ucr_per_h: int | None
    start_s: int
    up_since_s: int
    started_by: str
    posted_until_s: int
    state: str
    end_s: int | None = None
    start_error_s: int = 0
    end_error_s: int = 0

    def was_started_after(self, instant_s: int) -> bool:
        """Whether the owner itself started the server after an instant."""
        return self.up_since_s > instant_s and self.started_by == self.startup

    def unposted(self, confirmed_s: int) -> Period:
        """The time that ran and is in no charge yet, as far as the zone is known."""
        until_s = self.end_s if self.end_s is not None else confirmed_s
        return Period(self.posted_until_s, max(until_s, self.posted_until_s))

    def accrued_ucr(self, confirmed_s: int) -> int:
        """Cost of what is not yet posted; 0 while the rate is unknown."""
        if self.rate_ucr_per_h is None:
            return 0
        return cost_ucr(self.rate_ucr_per_h, self.start_s, self.unposted(confirmed_s))


@dataclass(frozen=True, slots=True)
class UnconfirmedPeriod:
    """A stretch that may have been billable; only the bill can tell."""

    server_id: str
    startup: str
    flavor: str
    period: Period
    rate_ucr_per_h: int | None


@dataclass(frozen=True, slots=True)
class Metered:
    """The result of one set of sweeps: runs by id, unconfirmed periods, and zones."""

    runs: Mapping[str, Run]
    changed: tuple[Run, ...]
    unconfirmed_periods: tuple[UnconfirmedPeriod, ...]
    confirmed: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Rates in force, GPUs and scratch disks by flavor (TYPE@zone), and every version of a rate.

    A flavor that has no version keeps the rate that it has.
    """

    rates_ucr_per_h: Mapping[str, int]
    gpus: Mapping[str, int]
    prices: Prices = field(default_factory=Prices)
    scratch_bytes: Mapping[str, int] = field(default_factory=dict)

    def at(self, instant_s: int) -> Catalogue:
        """The same with the rates that are in force at an instant."""
        versions = {f: self.prices.in_force(f, instant_s) for f in self.prices.versions}
        rates = {flavor: v.rate_ucr_per_h for flavor, v in versions.items() if v is not None}
        return replace(self, rates_ucr_per_h={**self.rates_ucr_per_h, **rates})


def meter(
    program: Program,
    catalogue: Catalogue,
    open_runs: Iterable[Run],
    confirmed: Mapping[str, int],
    sweeps: Iterable[Sweep],
    read_s: int = 0,
    poweroffs: Mapping[str, int] = NO_POWEROFFS,
) -> Metered:
    """Advance every zone that answered Complete later than it is confirmed; skip the rest.

    `read_s` is when the last of the answers had been read, by the clock of `at_s`. `poweroffs`
    says when cohortd last asked for the poweroff of a server, by server id.
    """
    runs = {run.id: run for run in open_runs}
    known = dict(confirmed)
    changed: dict[str, Run] = {}
    unconfirmed_periods: list[UnconfirmedPeriod] = []
    for sweep in sorted(sweeps, key=lambda each: each.zone):
        confirmed_s = known.get(sweep.zone)
        if not isinstance(sweep, Complete) or (confirmed_s or 0) >= sweep.at_s:
            continue
        read_by_s = max(read_s, sweep.at_s)
        zone = _Zone(program, catalogue, confirmed_s, sweep, read_by_s, poweroffs)
        here = sorted((r for r in runs.values() if r.zone == sweep.zone), key=lambda r: r.id)
        for run in zone.advance(here, unconfirmed_periods):
            if runs.get(run.id) != run:
                changed[run.id] = runs[run.id] = run
        known[sweep.zone] = sweep.at_s
    return Metered(runs, tuple(changed.values()), tuple(unconfirmed_periods), known)


@dataclass(frozen=True, slots=True)
class _Zone:
    """One zone between two Complete sweeps."""

    program: Program
    catalogue: Catalogue
    confirmed_s: int | None
    sweep: Complete
    read_s: int
    poweroffs: Mapping[str, int]

    def advance(
        self, runs: list[Run], unconfirmed_periods: list[UnconfirmedPeriod]
    ) -> Iterable[Run]:
        """Yield every run that began, went on or ended, in the order of server ids."""
        seen = {server.id: server for server in self.sweep.servers}
        open_ids = {run.server_id for run in runs if run.end_s is None}
        for run in runs:
            if run.end_s is None:
                for part in self._follow(run, seen.get(run.server_id), unconfirmed_periods):
                    yield from self._by_owner(part)
            else:
                yield self._with_rate(run)
        for server in sorted(self.sweep.servers, key=lambda each: each.id):
            if server.id in open_ids:
                continue
            if server.is_billable:
                for part in self._began(server, unconfirmed_periods):
                    yield from self._by_owner(part)
            else:
                off_s = self._changed_s(server)
                unconfirmed_periods.extend(self._may_have_run(server, off_s, SHORTEST_BOUNCE_S))

    def _follow(
        self, run: Run, server: Server | None, unconfirmed_periods: list[UnconfirmedPeriod]
    ) -> Iterable[Run]:
        if server is None:
            yield self._ended(run, None)
        elif not server.is_billable:
            ended = self._ended(run, server)
            sure_s, until_s = self._last_sure_s(run), self._changed_s(server)
            if self._is_close or self._powered_off_s(server) is not None or until_s <= sure_s:
                yield ended
            else:
                yield replace(ended, end_error_s=0)
                unconfirmed_periods.append(_unconfirmed(run, sure_s, until_s))
        elif server.flavor != run.flavor:
            yield self._ended(run, None)
            yield from self._began(server, unconfirmed_periods)
        elif server.project_id != run.project_id:
            yield self._ended(run, None)
            began = self._began(server, unconfirmed_periods)
            yield from (_continue_run(run, each) for each in began)
        elif self._may_have_bounced(run, server):
            yield replace(self._ended(run, None), end_error_s=0)
            on_s = self._on_s(server)
            unconfirmed_periods.append(_unconfirmed(run, self._last_sure_s(run), on_s))
            yield _continue_run(run, self._opened(server, run.startup, on_s, error_s=0))
        else:
            yield replace(self._with_rate(run), state=server.state)

    def _by_owner(self, run: Run) -> Iterable[Run]:
        """The run, cut where its project passed to another owner, ended where it has none since."""
        until_s = max(self.sweep.at_s, run.start_s) if run.end_s is None else run.end_s - 1
        successor = self.program.owner(run.project_id, until_s)
        if successor is None:
            passed_s = self.program.given_up_s(run.project_id, until_s)
        else:
            passed_s = _ownership_since_s(successor, run.project_id, until_s)
        if passed_s is None or (successor is not None and successor.name == run.startup):
            yield run
            return
        passed_s = max(passed_s, run.posted_until_s)
        if run.end_s is not None and passed_s >= run.end_s:
            yield run
            return
        if successor is None:
            yield from self._by_owner(replace(run, end_s=passed_s, end_error_s=0, state="ended"))
            return
        if passed_s > run.start_s:
            kept = replace(run, end_s=passed_s, end_error_s=0)
            yield from self._by_owner(replace(kept, state="ended") if run.end_s else kept)
        began = replace(run, id=f"{run.server_id}@{passed_s}", startup=successor.name)
        error_s = 0 if passed_s > run.start_s else run.start_error_s
        yield replace(began, start_s=passed_s, posted_until_s=passed_s, start_error_s=error_s)

    def _began(self, server: Server, unconfirmed_periods: list[UnconfirmedPeriod]) -> Iterable[Run]:
        owner = self.program.owner(server.project_id, self.sweep.at_s)
        if owner is None:
            return
        starts_s = self.program.cohort(owner.cohort).starts_s
        if self.sweep.at_s < starts_s or self._gpus(server) == 0:
            return
        if self.confirmed_s is not None and server.modified_s <= starts_s:
            # Unchanged since before the cohort began, and the first sweep that counts.
            up_since_s = starts_s if self.confirmed_s <= starts_s else self.sweep.at_s
        else:
            first_seen_s = max(self._on_s(server), self.sweep.at_s)
            up_since_s = max(self._dated_s(server) or first_seen_s, starts_s)
        earliest_s = max(self.confirmed_s or server.created_s, server.created_s, starts_s)
        error_s = max(0, up_since_s - earliest_s)
        is_dated = self.confirmed_s is not None and server.modified_s > self.confirmed_s
        if is_dated and not self._is_close:
            # It was off, and may have been on before its date: that time is in no run.
            error_s = 0
            unconfirmed_periods += self._may_have_run(server, up_since_s, 0)
        first = self.program.owner(server.project_id, up_since_s)
        if first is None:
            owned_s = _ownership_since_s(owner, server.project_id, self.sweep.at_s)
            up_since_s = max(up_since_s, owned_s)
        yield self._opened(server, (first or owner).name, up_since_s, error_s=error_s)

    def _may_have_run(
        self, server: Server, until_s: int, longer_than_s: int
    ) -> Iterable[UnconfirmedPeriod]:
        """The time from the sweep that showed the server off to its last change, if long enough."""
        owner = self.program.owner(server.project_id, self.sweep.at_s)
        if owner is None or self.confirmed_s is None or self._gpus(server) == 0:
            return
        starts_s = self.program.cohort(owner.cohort).starts_s
        from_s = max(self.confirmed_s, server.created_s, starts_s)
        if until_s - from_s > longer_than_s:
            rate = self.catalogue.rates_ucr_per_h.get(server.flavor)
            period = Period(from_s, until_s)
            yield UnconfirmedPeriod(server.id, owner.name, server.flavor, period, rate)

    def _opened(self, server: Server, startup: str, start_s: int, *, error_s: int) -> Run:
        # On, and not modified since then: it may be charged from later, but it ran before.
        up_since_s = min(start_s, server.modified_s)
        starter = self.program.owner(server.project_id, up_since_s)
        return Run(
            id=f"{server.id}@{start_s}",
            server_id=server.id,
            server_name=server.name,
            zone=server.zone,
            project_id=server.project_id,
            startup=startup,
            flavor=server.flavor,
            gpus=self._gpus(server),
            rate_ucr_per_h=self.catalogue.rates_ucr_per_h.get(server.flavor),
            start_s=start_s,
            up_since_s=up_since_s,
            started_by=starter.name if starter else "",
            posted_until_s=start_s,
            state=server.state,
            start_error_s=error_s,
        )

    def _ended(self, run: Run, server: Server | None) -> Run:
        """The run, ended where its new state dates the end, else at the last sure instant."""
        sure_s, end_s = self._last_sure_s(run), None
        if server is not None:
            end_s = self._dated_s(server) if self._is_close else self._powered_off_s(server)
        if end_s is None:
            end_s, error_s = sure_s, self.sweep.at_s - sure_s
        elif self._is_close:
            end_s, error_s = max(end_s, sure_s), end_s - sure_s
        else:  # the call may have been late, but the server was off by its last change
            end_s = max(end_s, sure_s)
            error_s = self._changed_s(server) - end_s if server else 0
        # Below 0 where the clock stepped back after a start that was dated after its sweep.
        error_s = max(0, error_s)
        return replace(self._with_rate(run), end_s=end_s, state="ended", end_error_s=error_s)

    def _with_rate(self, run: Run) -> Run:
        """The run at its rate, which is accepted once: an ended one may have waited for it."""
        if run.rate_ucr_per_h is not None:
            return run
        return replace(run, rate_ucr_per_h=self.catalogue.rates_ucr_per_h.get(run.flavor))

    def _last_sure_s(self, run: Run) -> int:
        return max(self.confirmed_s or run.start_s, run.start_s)

    @property
    def _is_close(self) -> bool:
        """Whether no server can have gone off and on again between the two sweeps."""
        known_s = self.confirmed_s
        return known_s is not None and self.sweep.at_s - known_s <= SHORTEST_BOUNCE_S

    def _powered_off_s(self, server: Server) -> int | None:
        """When cohortd powered the server off, if nothing changed it after that stop."""
        sent_s, changed_s = self.poweroffs.get(server.id), self._changed_s(server)
        if sent_s is None or changed_s > sent_s + self.program.policy.stop_latency_s:
            return None
        return min(sent_s, changed_s)

    def _dated_s(self, server: Server) -> int | None:
        """The transition's instant, if the change fell between the two sweeps."""
        if self.confirmed_s is None or not self.confirmed_s < server.modified_s <= self.sweep.at_s:
            return None
        return server.modified_s

    def _may_have_bounced(self, run: Run, server: Server) -> bool:
        return self._changed_s(server) - self._last_sure_s(run) > SHORTEST_BOUNCE_S

    def _changed_s(self, server: Server) -> int:
        """The latest instant before the sweep at which the server may have been off.

        A change later than the sweep began, or by a clock ahead of ours, hides earlier ones.
        """
        return min(server.modified_s, self.sweep.at_s)

    def _on_s(self, server: Server) -> int:
        """The instant since which a server that was seen on is on.

        If a clock ahead of ours dated the start, the answer was read at the latest then.
        """
        return min(server.modified_s, self.read_s)

    def _gpus(self, server: Server) -> int:
        return self.catalogue.gpus.get(server.flavor, 0)


def _ownership_since_s(successor: Startup, project_id: str, instant_s: int) -> int:
    """The start of the tenure by which a startup owns a project at an instant."""
    own = (tenure for tenure in successor.projects if tenure.project_id == project_id)
    return max(tenure.from_s for tenure in own if tenure.holds_at(instant_s))


def _unconfirmed(run: Run, from_s: int, until_s: int) -> UnconfirmedPeriod:
    """The stretch in which the server of a run may have been on."""
    period = Period(from_s, until_s)
    return UnconfirmedPeriod(run.server_id, run.startup, run.flavor, period, run.rate_ucr_per_h)


def _continue_run(before: Run, after: Run) -> Run:
    """The run after a gap in which the server may have been off, as if it had run on."""
    return replace(after, up_since_s=before.up_since_s, started_by=before.started_by)
