"""Former members: startups that left the program, which keep their projects and their books.

Usage in their projects is still charged to them. So a program in force also carries the members
of earlier versions with their projects and contacts, until a project passes to another startup
or its tenure ends.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from quotas.model.program import Cohort, Program, ProgramError, Startup, Tenure


def with_former_members(program: Program, earlier: Iterable[Program]) -> Program:
    """The program with its former members; `earlier` are the earlier versions, oldest first."""
    cohorts: dict[str, Cohort] = {}
    known: dict[str, Startup] = {}
    for version in (*earlier, program):
        cohorts |= {cohort.name: cohort for cohort in version.cohorts}
        members = {startup.name: startup for startup in version.startups()}
        left = {name: each for name, each in known.items() if name not in members}
        known = members | {name: _parted(each, version) for name, each in left.items()}
    of: dict[str, list[Startup]] = defaultdict(list)
    for name, startup in sorted(known.items()):
        if program.startup(name) is None:
            of[startup.cohort].append(startup)
    former = (replace(cohorts[name], startups=tuple(own)) for name, own in sorted(of.items()))
    return replace(program, former=tuple(former))


def refuse_reused_names(current: Program, program: Program) -> None:
    """Refuse a startup under the name of another one that left. Raises ProgramError.

    Balances, tokens and history belong to a name. So the name of a former member stays with its
    projects and its cohort: the same company may return, and another one never inherits.
    """
    former = {startup.name: startup for startup in current.former_members()}
    for startup in program.startups():
        left = former.get(startup.name)
        if left is None:
            continue
        projects = {tenure.project_id for tenure in left.projects}
        own = {tenure.project_id for tenure in startup.projects}
        if left.cohort != startup.cohort or not projects & own:
            raise ProgramError(
                f"cohort.{startup.cohort}.startup.{startup.name} is the name of a startup that "
                f"left cohort {left.cohort}, and its credits, tokens and history stay with that "
                "name; give this startup another name."
            )


def _parted(startup: Startup, version: Program) -> Startup:
    """A former member, with the tenures that no member of a version has taken over."""
    kept = (_until_passed(tenure, version) for tenure in startup.projects)
    projects = tuple(tenure for tenure in kept if tenure is not None)
    return Startup(startup.name, startup.cohort, projects, contacts=startup.contacts)


def _until_passed(tenure: Tenure, version: Program) -> Tenure | None:
    """The tenure until a member takes over the project; None if nothing of it is left."""
    others = (other for startup in version.startups() for other in startup.projects)
    same = [other for other in others if other.project_id == tenure.project_id]
    ends = [o.from_s for o in same if o.until_s is None or o.until_s > tenure.from_s]
    ends += [] if tenure.until_s is None else [tenure.until_s]
    until_s = min(ends, default=None)
    if until_s is not None and until_s <= tenure.from_s:
        return None
    return replace(tenure, until_s=until_s)
