"""The checks of `cohortd check`: each one says what it found, and the fix if it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from quotas.config.load import parse_program
from quotas.metering.prices import price_fault
from quotas.model.observation import Complete, Offer
from quotas.model.program import Program, ProgramError
from quotas.model.units import format_credits, format_instant
from scheduler.clouds.base import Cloud, CloudError
from scheduler.config import ConfigError

ENOUGH_DISK_BYTES = 500_000_000
CLOCK_TOLERANCE_S = 5
NEEDED_TO_ACT = (
    "in enforce mode the key needs InstancesServerStop, and InstancesServerStart for 'undo' and "
    "auto_resume; a check does not try them, because it changes nothing"
)


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check, with the fix if it failed."""

    name: str
    ok: bool
    detail: str
    fix: str = ""


def run_checks(
    connect: Callable[[], Cloud], text: str, file: str, free_bytes: int, now_s: int
) -> Iterator[Check]:
    """Check program, key, projects, zones, prices, clock and disk, and change nothing.

    `text` is the program file's content, `now_s` this machine's time.
    """
    fix = "free 500 MB on the disk of --state, or move the folder"
    free = f"{free_bytes // 1_000_000} MB free"
    yield Check("disk", free_bytes >= ENOUGH_DISK_BYTES, free, fix)
    program = None
    try:
        program = parse_program(text, file)
        total = sum(g.amount_ucr for s in program.startups() for g in s.grants)
        detail = f"{len(program.startups())} startups, {format_credits(total)} credits granted"
        yield Check("program", True, detail)
    except ProgramError as error:
        yield Check("program", False, str(error), "correct the file, then run this again")
    try:
        cloud = connect()
        projects = cloud.projects()
    except (ConfigError, CloudError, ValueError) as error:
        yield Check("key", False, str(error), "set the SCW_* variables of a working API key")
        return
    yield Check("key", True, f"the key reads {len(projects)} projects")
    yield Check("stops and starts", True, NEEDED_TO_ACT)
    if program is not None:
        yield _projects(program, {project.id for project in projects})
        yield from _zones(cloud, program, now_s)


def _projects(program: Program, seen: set[str]) -> Check:
    owned = {tenure.project_id for s in program.startups() for tenure in s.projects}
    missing = sorted(owned - seen)
    detail = f"missing {', '.join(missing)}" if missing else f"all {len(owned)} exist"
    fix = "correct project_id, or let the key see the project (ProjectReadOnly)"
    return Check("projects", not missing, detail, fix)


def _zones(cloud: Cloud, program: Program, now_s: int) -> Iterator[Check]:
    offers: dict[str, Offer] = {}
    for zone in program.zones:
        sweep = cloud.sweep(zone, now_s)
        if isinstance(sweep, Complete):
            yield Check(f"servers {zone}", True, f"{len(sweep.servers)} servers")
            if sweep.servers:
                yield _clock(zone, max(server.modified_s for server in sweep.servers), now_s)
        else:
            fix = "give the key InstancesReadOnly on all projects, and try again"
            yield Check(f"servers {zone}", False, f"{sweep.cause}: {sweep.detail}", fix)
        try:
            offers |= {offer.flavor: offer for offer in cloud.offers(zone)}
        except CloudError as error:
            yield Check(f"prices {zone}", False, str(error), "try again when Scaleway answers")
    for pool in program.pools:
        yield _prices(pool.name, pool.flavors, offers)


def _clock(zone: str, newest_s: int, now_s: int) -> Check:
    """A change that is dated in our future means that one of the two clocks is wrong."""
    detail = f"newest change {format_instant(newest_s)}, our time {format_instant(now_s)}"
    fix = "set this machine's clock (timedatectl set-ntp true)"
    return Check(f"clock {zone}", newest_s <= now_s + CLOCK_TOLERANCE_S, detail, fix)


def _prices(pool: str, flavors: tuple[str, ...], offers: dict[str, Offer]) -> Check:
    wrong = [f"{flavor} is not sold" for flavor in flavors if flavor not in offers]
    wrong += [
        why for flavor in flavors if flavor in offers and (why := price_fault(offers[flavor]))
    ]
    fix = "correct the flavors of the pool, or wait until the catalogue is right"
    return Check(f"prices of pool {pool}", not wrong, "; ".join(wrong) or "all plausible", fix)
