"""Account v3: the projects of the organization."""

from __future__ import annotations

from simulator.api import render
from simulator.api.requests import Answer, Call, answer, counted_page
from simulator.world.model import Project, not_found, permission_denied


def list_projects(call: Call) -> Answer:
    """GET projects: a page of those that the caller may see, and their number."""
    chosen = sorted(
        (project for project in call.world.projects if _matches(call, project)),
        key=lambda project: (project.created_s, project.name),
        reverse=call.query.get("order_by", "").endswith("_desc"),
    )
    organization_id = call.world.organization_id
    return counted_page(
        call, "projects", chosen, lambda project: render.project(project, organization_id)
    )


def _matches(call: Call, project: Project) -> bool:
    wanted = call.query.getlist("project_ids")
    return (
        _may_see(call, project.id)
        and call.query.get("organization_id") in (None, call.world.organization_id)
        and call.query.get("name") in (None, "", project.name)
        and (not wanted or project.id in wanted)
    )


def get_project(call: Call) -> Answer:
    """GET one project."""
    project_id = call.path["project_id"]
    found = [project for project in call.world.projects if project.id == project_id]
    if not found:
        raise not_found("project_id", project_id)
    if not _may_see(call, project_id):
        raise permission_denied("projects", "read")
    return answer(render.project(found[0], call.world.organization_id))


def _may_see(call: Call, project_id: str) -> bool:
    """Allowed with ProjectReadOnly, or with any permission in the project."""
    return call.caller.may("projects:read") or call.caller.may("server:read", project_id)
