"""Writes a first program file from the organization's projects and servers."""

from __future__ import annotations

import re
from collections import defaultdict
from datetime import UTC, datetime

from quotas.model.observation import Complete, Server
from quotas.model.units import DAY_S
from scheduler.clouds.base import Cloud, Malformed, Project

ZONES = ("fr-par-1", "fr-par-2", "pl-waw-2")
COHORT_DAYS = 182


def first_program_file(cloud: Cloud, now_s: int) -> str:
    """TOML of a program in shadow mode, with a startup for each project. Raises CloudError."""
    servers: list[Server] = []
    gpus: dict[str, int] = {}
    for zone in ZONES:
        gpus |= {offer.flavor: offer.gpus for offer in cloud.offers(zone) if offer.gpus}
        sweep = cloud.sweep(zone, now_s)
        if not isinstance(sweep, Complete):
            raise Malformed(f"zone {zone} could not be read ({sweep.detail}): try again")
        servers += sweep.servers
    pools: dict[str, list[str]] = defaultdict(list)
    for flavor in sorted(gpus):
        pools[_pool(flavor)].append(flavor)
    used = {_pool(server.flavor) for server in servers if server.flavor in gpus} or {"h100"}
    projects = cloud.projects()
    parts = [_head(), *(_pool_text(name, pools[name]) for name in sorted(used) if pools[name])]
    parts.append(_cohort_text(now_s))
    taken: set[str] = set()
    for project in projects:
        own = [s for s in servers if s.project_id == project.id and s.flavor in gpus]
        parts.append(_startup_text(project, own, taken))
    return "\n".join(parts)


def _pool(flavor: str) -> str:
    """The GPU model is the pool: h100 for H100-1-80G and for H100-SXM-8-80G."""
    return re.sub(r"[^a-z0-9]+", "-", flavor.split("-")[0].lower())


def _head() -> str:
    return (
        "# Written by 'cohortd init'. Set dates, quotas and grants, then 'cohortd plan'.\n"
        '[program]\nname = "ai-startup-program"\ntimezone = "Europe/Paris"\n'
        'mode = "shadow"  # decide and record, touch nothing\nbudget = "350000"\n'
    )


def _pool_text(name: str, flavors: list[str]) -> str:
    listed = ", ".join(f'"{flavor}"' for flavor in flavors)
    return f'[pool.{name}]\ngpus = 40\nbacking = "on-demand"\nflavors = [{listed}]\n'


def _cohort_text(now_s: int) -> str:
    starts = datetime.fromtimestamp(now_s, UTC).date()
    ends = datetime.fromtimestamp(now_s + COHORT_DAYS * DAY_S, UTC).date()
    return f"[cohort.first]\nstarts = {starts}\nends = {ends}\n"


def startup_name(project_name: str, taken: set[str]) -> str:
    """A free name that a program file accepts; it is added to `taken`."""
    name = re.sub(r"[^a-z0-9]+", "-", project_name.lower()).strip("-")[:50] or "startup"
    while name in taken:
        name += "-2"
    taken.add(name)
    return name


def _startup_text(project: Project, servers: list[Server], taken: set[str]) -> str:
    name = startup_name(project.name, taken)
    running = ", ".join(f"{s.name} ({s.commercial_type}, {s.state})" for s in servers)
    return (
        f"[cohort.first.startup.{name}]\n# {running or 'no GPU server now'}\n"
        f'project_id = "{project.id}"\nnominal = {{}}\n'
        f'grants = [{{ id = "{name}-1", credits = "10000" }}]\n'
    )
