"""Writes a first program file from the organization's projects and servers.

Names in the cloud are chosen by anybody who may create a server. They become names of the file's
own alphabet, quoted strings or one line of a comment, and the whole file is parsed before it is
returned.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from datetime import UTC, datetime

from quotas.config.load import parse_program
from quotas.model.observation import Complete, Server
from quotas.model.program import ProgramError
from quotas.model.units import DAY_S
from scheduler.clouds.base import Cloud, Malformed, Project

ZONES = ("fr-par-1", "fr-par-2", "pl-waw-2")
COHORT_DAYS = 182
LEAST_BUDGET, GRANT = 350_000, 10_000
"""Credits of the first file: the budget, unless the grants need more, and each grant."""


def first_program_file(cloud: Cloud, now_s: int) -> str:
    """TOML of a program in shadow mode, with a startup for each project. Raises CloudError.

    Raises Malformed, too, if the names of the cloud make a file that cohortd refuses.
    """
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
    parts = [
        _head(max(LEAST_BUDGET, GRANT * len(projects))),
        *(_pool_text(name, pools[name]) for name in sorted(used) if pools[name]),
    ]
    parts.append(_cohort_text(now_s))
    taken: set[str] = set()
    for project in projects:
        own = [s for s in servers if s.project_id == project.id and s.flavor in gpus]
        parts.append(_startup_text(project, own, taken))
    text = "\n".join(parts)
    try:
        parse_program(text, "the first program file")
    except ProgramError as error:
        raise Malformed(f"the cloud's names make no valid program: {error}") from None
    return text


def _pool(flavor: str) -> str:
    """The GPU model is the pool: h100 for H100-1-80G and for H100-SXM-8-80G."""
    return re.sub(r"[^a-z0-9]+", "-", flavor.split("-")[0].lower())


def _head(budget: int) -> str:
    return (
        "# Written by 'cohortd init'. Set dates, quotas and grants, then 'cohortd plan'.\n"
        '[program]\nname = "ai-startup-program"\ntimezone = "Europe/Paris"\n'
        f'mode = "shadow"  # decide and record, touch nothing\nbudget = "{budget}"\n'
    )


def _pool_text(name: str, flavors: list[str]) -> str:
    listed = ", ".join(map(_quoted, flavors))
    return f'[pool.{name}]\ngpus = 40\nbacking = "on-demand"\nflavors = [{listed}]\n'


def _cohort_text(now_s: int) -> str:
    starts = datetime.fromtimestamp(now_s, UTC).date()
    ends = datetime.fromtimestamp(now_s + COHORT_DAYS * DAY_S, UTC).date()
    return f"[cohort.first]\nstarts = {starts}\nends = {ends}\n"


def startup_name(project_name: str, taken: set[str]) -> str:
    """A free name that a program file accepts; it is added to `taken`."""
    name = re.sub(r"[^a-z0-9]+", "-", project_name.lower()).strip("-")[:50] or "startup"
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    taken.add(free)
    return free


def _quoted(text: str) -> str:
    """A TOML string, in which nothing of the text ends the string."""
    return json.dumps(text, ensure_ascii=False)


def _comment(text: str) -> str:
    """One line of a comment. A line break in it would begin a key of the file."""
    return "# " + "".join(c if c.isprintable() else " " for c in text)


def _startup_text(project: Project, servers: list[Server], taken: set[str]) -> str:
    name = startup_name(project.name, taken)
    running = ", ".join(f"{s.name} ({s.commercial_type}, {s.state})" for s in servers)
    return (
        f"[cohort.first.startup.{name}]\n{_comment(running or 'no GPU server now')}\n"
        f"project_id = {_quoted(project.id)}\nnominal = {{}}\n"
        f'grants = [{{ id = "{name}-1", credits = "{GRANT}" }}]\n'
    )
