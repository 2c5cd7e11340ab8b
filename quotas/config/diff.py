"""The changes from the program in force to a new one, and which of them need a confirmation.

Both programs are laid out as path -> text. The paths that differ are the changes. A change that
may take something away from somebody needs a confirmation by name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from quotas.config.schema import POLICY_KEYS
from quotas.model.contacts import mask_contact
from quotas.model.former_members import refuse_reused_names
from quotas.model.program import (
    Cohort,
    Grant,
    Mode,
    Pool,
    Program,
    ProgramError,
    Rollover,
    Startup,
    Tenure,
    Tranche,
)
from quotas.model.units import format_credits, format_instant
from quotas.state.overrides import EVERYONE, NO_OVERRIDES, Overrides, with_effective_mode

Usage = Mapping[str, Mapping[str, int]]
"""GPUs of billable servers, by startup and flavor. Each program maps flavors to its own pools."""
Pooled = Mapping[str, Mapping[str, int]]
"""GPUs of billable servers, by startup and pool of one program."""

Layout = dict[str, str]
_CONTACT_KEYS = (".contacts", "program.operators")


@dataclass(frozen=True, slots=True)
class Change:
    """One path that differs; `before` is None for a new path, `after` for a removed one."""

    path: str
    before: str | None
    after: str | None
    needs_confirmation: bool
    reason: str


def diff(
    old: Program | None, new: Program, usage: Usage, overrides: Overrides = NO_OVERRIDES
) -> tuple[Change, ...]:
    """Every change from the program in force to a new one, by path.

    The mode in force also depends on the `overrides`. Raises ProgramError if a posted grant would
    change or disappear, because grants are immutable.
    """
    if old is not None:
        _refuse_moved_startups(old, new)
        refuse_reused_names(old, new)
        _refuse_changed_grants(old, new)
    before, after = _layout(old) if old else {}, _layout(new)
    reasons = dict(_reasons(old, new, usage, overrides))
    # The removal of a startup is shown as one change, not as twenty.
    left = [s for s in old.startups() if new.startup(s.name) is None] if old else []
    gone = tuple(f"{_startup_path(startup)}." for startup in left)
    changes = []
    for path in sorted(before.keys() | after.keys()):
        was, now = before.get(path), after.get(path)
        if was != now and not path.startswith(gone):
            if path.endswith(_CONTACT_KEYS):
                was, now = _masked_contacts(was, now)
            changes.append(Change(path, was, now, path in reasons, reasons.get(path, "")))
    return tuple(changes)


def _masked_contacts(before: str | None, after: str | None) -> tuple[str | None, str | None]:
    """Two lists of contacts as a plan shows them. A secret that differs is said, not shown."""
    was, now = (
        None if text is None else ", ".join(map(mask_contact, text.split(", ")) if text else ())
        for text in (before, after)
    )
    return was, f"{now} (another address or token)" if was == now else now


def _refuse_moved_startups(old: Program, new: Program) -> None:
    for startup in new.startups():
        known = old.startup(startup.name)
        if known is not None and known.cohort != startup.cohort:
            raise ProgramError(
                f"{_startup_path(startup)} = {startup.name} is in cohort {known.cohort} in the "
                "book, and its credits stay there; give it another name in the new cohort."
            )


def _refuse_changed_grants(old: Program, new: Program) -> None:
    now_held = {grant.id: (s, grant) for s in new.startups() for grant in s.grants}
    for startup in old.startups():
        for grant in startup.grants:
            holder, now_posted = now_held.get(grant.id, (None, None))
            path = f"{_startup_path(startup)}.grants.{grant.id}"
            if now_posted is None and new.startup(startup.name) is not None:
                raise ProgramError(
                    f"{path} = {format_credits(grant.amount_ucr)} credits is missing in the "
                    f"file, and a posted grant stays; put it back, then void {grant.id}."
                )
            if holder is not None and holder.name != startup.name:
                raise ProgramError(
                    f"{path} was posted to {startup.name}, and the file gives it to "
                    f"{holder.name}; use a new id there."
                )
            if now_posted is not None:
                _refuse_changed(path, grant, now_posted)


def _refuse_changed(path: str, before: Grant, after: Grant) -> None:
    old, new = _grant_layout(before), _grant_layout(after)
    for key in sorted(old):
        if old[key] != new[key]:
            raise ProgramError(
                f"{path}.{key} = {new[key]} differs from {old[key]} in the book, and a posted "
                f"grant does not change; write {old[key]}, or void {before.id} and grant under "
                "a new id."
            )


def _layout(program: Program) -> Layout:
    """The program as path -> text, without paths that only follow from other paths."""
    laid = {f"program.{k}": getattr(program, k) for k in ("name", "timezone", "mode", "prices")}
    laid["program.budget"] = format_credits(program.budget_ucr)
    laid |= {f"program.{k}": ", ".join(getattr(program, k)) for k in ("zones", "operators")}
    for key in POLICY_KEYS:
        laid[f"policy.{key.path}"] = key.show(getattr(program.policy, key.field))
    for pool in program.pools:
        laid |= _below(f"pool.{pool.name}", _pool_layout(pool))
    for cohort in program.cohorts:
        laid[f"cohort.{cohort.name}.starts"] = format_instant(cohort.starts_s)
        laid[f"cohort.{cohort.name}.ends"] = format_instant(cohort.ends_s)
        for startup in cohort.startups:
            path = _startup_path(startup)
            laid[path] = startup.name
            laid |= _below(path, _startup_layout(startup))
    return laid


def _below(path: str, laid: Layout) -> Layout:
    return {f"{path}.{key}": text for key, text in laid.items()}


def _pool_layout(pool: Pool) -> Layout:
    steps = [
        f"{gpus} from {format_instant(from_s)}" if from_s else str(gpus)
        for from_s, gpus in pool.capacity
    ]
    flavors = ", ".join(pool.flavors)
    return {"gpus": ", ".join(steps), "backing": pool.backing, "flavors": flavors}


def _startup_layout(startup: Startup) -> Layout:
    laid = {"weight": str(startup.weight), "contacts": ", ".join(startup.contacts)}
    laid["auto_resume"] = str(startup.auto_resume).lower()
    laid["projects"] = ", ".join(
        f"{t.project_id} from {format_instant(t.from_s)}"
        + (f" until {format_instant(t.until_s)}" if t.until_s is not None else "")
        for t in startup.projects
    )
    for label in ("nominal", "borrowing_limit", "lending_limit", "limit"):
        quotas: Mapping[str, int | None] = getattr(startup, label)
        laid |= {f"{label}.{pool}": str(gpus) for pool, gpus in quotas.items() if gpus is not None}
    laid |= {f"flavors.{pool}": ", ".join(names) for pool, names in startup.flavors.items()}
    for grant in startup.grants:
        laid |= _below(f"grants.{grant.id}", _grant_layout(grant))
    return laid


def _grant_layout(grant: Grant) -> Layout:
    return {
        "credits": format_credits(grant.amount_ucr),
        "category": grant.category,
        "priority": str(grant.priority),
        "effective": format_instant(grant.effective_s),
        "expires": format_instant(grant.expires_s),
        "tranches": ", ".join(map(_tranche, grant.tranches)) or "none",
        "rollover": _rollover(grant.rollover),
    }


def _tranche(tranche: Tranche) -> str:
    amount = format_credits(tranche.amount_ucr)
    if tranche.effective_s is not None:
        return f"{amount} at {format_instant(tranche.effective_s)}"
    by = "" if tranche.by_s is None else f" by {format_instant(tranche.by_s)}"
    return f"{amount} at {tranche.milestone}{by}"


def _rollover(rollover: Rollover | None) -> str:
    if rollover is None:
        return "all"
    if rollover.ppm == 0:
        return "none"
    if rollover.most_ucr is not None:
        return f"{format_credits(rollover.most_ucr)} credits"
    return f"{rollover.ppm} millionths"


def _startup_path(startup: Startup) -> str:
    return f"cohort.{startup.cohort}.startup.{startup.name}"


def _pooled(program: Program | None, usage: Usage) -> Pooled:
    """The usage by the pools of a program; a flavor outside every pool is left out."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for startup, by_flavor in usage.items():
        for flavor, gpus in by_flavor.items():
            pool = program.pool_of(flavor) if program else None
            if pool is not None:
                found[startup][pool.name] = found[startup].get(pool.name, 0) + gpus
    return found


def _reasons(
    old: Program | None, new: Program, usage: Usage, overrides: Overrides
) -> Iterator[tuple[str, str]]:
    """The paths that need a confirmation, each with why. Some of them may not have changed."""
    was, now = _pooled(old, usage), _pooled(new, usage)
    yield from _mode(old, new, overrides)
    for startup in new.startups():
        before, name = old.startup(startup.name) if old else None, startup.name
        yield from _lowered(before, startup, was.get(name, {}), now.get(name, {}))
    if old is None:
        return
    yield from _bounds(old, new)
    yield from _capacity(old, new, was)
    for startup in new.startups():
        if old.startup(startup.name) is None and old.known(startup.name) is not None:
            why = f"{startup.name} returns to its earlier credits, tokens and history"
            yield _startup_path(startup), why
    for cohort in old.cohorts:
        yield from _dates(cohort, new)
    for startup in old.startups():
        after = new.startup(startup.name)
        if after is None:
            why = f"{startup.name} leaves the program: its servers are stopped, its books stay"
            yield _startup_path(startup), why
        else:
            yield from _taken(startup, after, was.get(startup.name, {}))


def _mode(old: Program | None, new: Program, overrides: Overrides) -> Iterator[tuple[str, str]]:
    """Whether servers will be stopped, by the file or by an override that counts again with it."""
    override = overrides.on("mode", EVERYONE)
    was = with_effective_mode(old, overrides).mode if old else Mode.OFF
    if new.mode is Mode.ENFORCE:
        yield "program.mode", "cohortd will stop servers"
    elif override and with_effective_mode(new, overrides).mode is Mode.ENFORCE is not was:
        armed = f"armed: by {override.actor}: {override.reason}"
        yield "program.mode", f"cohortd will stop servers, because it is {armed}"


def _bounds(old: Program, new: Program) -> Iterator[tuple[str, str]]:
    for key in POLICY_KEYS:
        if key.takes_away(getattr(old.policy, key.field), getattr(new.policy, key.field)):
            yield f"policy.{key.path}", key.why
    if set(old.operators) - set(new.operators):
        yield "program.operators", "an operator no longer gets messages"
    if set(old.zones) - set(new.zones):
        yield "program.zones", "a server that starts in a removed zone is not metered"


def _capacity(old: Program, new: Program, usage: Pooled) -> Iterator[tuple[str, str]]:
    pools = {pool.name: pool for pool in new.pools}
    for pool in old.pools:
        used = sum(by_pool.get(pool.name, 0) for by_pool in usage.values())
        after = pools.get(pool.name)
        least = min((gpus for _, gpus in after.capacity), default=0) if after else 0
        if used > least:
            yield f"pool.{pool.name}.gpus", f"{used} GPUs are in use, above {least}"
        if used and set(pool.flavors) - set(after.flavors if after else ()):
            yield f"pool.{pool.name}.flavors", f"a flavor leaves a pool with {used} GPUs in use"
        if after is not None and after.backing == "reserved" != pool.backing:
            why = "lent GPUs are reclaimed even while Scaleway has no stock"
            yield f"pool.{pool.name}.backing", why


def _dates(cohort: Cohort, new: Program) -> Iterator[tuple[str, str]]:
    after = next((each for each in new.cohorts if each.name == cohort.name), None)
    if after is None or after.ends_s < cohort.ends_s:
        yield f"cohort.{cohort.name}.ends", "its servers are stopped earlier"
    if after is None or after.starts_s > cohort.starts_s:
        yield f"cohort.{cohort.name}.starts", "usage before the new start is not charged"


def _lowered(
    before: Startup | None, after: Startup, was: Mapping[str, int], now: Mapping[str, int]
) -> Iterator[tuple[str, str]]:
    """The quotas below the GPUs in use, counted by the old pools and by the new ones."""
    path = _startup_path(after)
    used = {pool: max(was.get(pool, 0), now.get(pool, 0)) for pool in {*was, *now}}
    for pool, gpus in sorted(used.items()):
        allowed = after.limit.get(pool)
        if allowed is not None and allowed < gpus:
            why = f"{after.name} uses {gpus} GPUs, above {allowed}"
            yield f"{path}.limit.{pool}", why
            # The limit is not new: a flavor joins the pool and now counts against it.
            if before is not None and gpus > was.get(pool, 0):
                yield f"pool.{pool}.flavors", why
        nominal = after.nominal.get(pool, 0)
        if nominal < min(gpus, before.nominal.get(pool, 0) if before else 0):
            yield f"{path}.nominal.{pool}", f"{after.name} uses {gpus} GPUs, above {nominal}"
        borrowing = after.borrowing_limit.get(pool)
        if borrowing is not None and nominal + borrowing < gpus:
            why = f"{after.name} uses {gpus} GPUs, above {nominal} + {borrowing}"
            yield f"{path}.borrowing_limit.{pool}", why
    if after.weight == 0 and before is not None and before.weight > 0 and any(used.values()):
        yield f"{path}.weight", f"{after.name} may no longer borrow, and has running servers"


def _covers(now: Tenure, was: Tenure) -> bool:
    """Whether a tenure holds at every instant at which another did."""
    lasts = now.until_s is None or (was.until_s is not None and was.until_s <= now.until_s)
    return now.project_id == was.project_id and now.from_s <= was.from_s and lasts


def _taken(before: Startup, after: Startup, used: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    path = _startup_path(after)
    if not all(any(_covers(now, was) for now in after.projects) for was in before.projects):
        yield f"{path}.projects", "the startup loses a project, or a part of its time"
    if before.contacts and not after.contacts:
        yield f"{path}.contacts", f"{after.name} loses its last contact, and gets no notices"
    for pool, names in before.flavors.items():
        if used.get(pool) and set(names) - set(after.flavors.get(pool, ())):
            why = f"{after.name} runs {used[pool]} GPUs in {pool} and loses a flavor there"
            yield f"{path}.flavors.{pool}", why
