"""Reads answers of IAM: raw JSON in, our values out, or Malformed.

A rule that is read wrongly would be written back wrongly, so unknown content is refused.
"""

from __future__ import annotations

from collections.abc import Iterable

from quotas.iam.policies import Policy, Principal, Rule
from scheduler.clouds.base import Malformed
from scheduler.clouds.pages import Inconsistent, Page
from scheduler.clouds.parse import (
    JsonObject,
    check_organization,
    counted_list,
    exact_text_of,
    json_object,
    list_of,
    nonempty_text_of,
    text_of,
    texts_of,
    uuid_of,
)
from scheduler.clouds.replies import Reply

_HOLDERS = ("application", "user", "group")


def policies_page(answer: Reply, organization_id: str) -> Page[Policy]:
    """Read a page of list_policies; rules are listed apart. Raises Malformed."""
    rows, total = counted_list(answer, "policies")
    policies = (_policy(row, organization_id) for row in rows)
    return Page(tuple((policy.id, policy) for policy in policies), total)


def _policy(raw: JsonObject, organization_id: str) -> Policy:
    check_organization(raw, "organization_id", organization_id)
    kinds = [kind for kind in _HOLDERS if raw.get(f"{kind}_id")]
    if len(kinds) + (raw.get("no_principal") is True) != 1:
        # Read as a policy without holder, it would stay as it is while its holder is closed.
        raise Malformed("a policy has one holder, or says that it has none")
    kind = kinds[0] if kinds else ""
    return Policy(
        id=uuid_of(raw, "id"),
        name=text_of(raw, "name"),
        holder_kind=kind,
        holder_id=uuid_of(raw, f"{kind}_id") if kind else "",
        rules=(),
        is_editable=raw.get("editable") is True and raw.get("managed") is not True,
        tags=texts_of(raw, "tags"),
    )


def rules_page(answer: Reply) -> Page[Rule | None]:
    """Read a page of list_rules; None is a rule whose scope cohortd cannot write back."""
    rows, total = counted_list(answer, "rules")
    return Page(tuple((uuid_of(row, "id"), _rule(row)) for row in rows), total)


def _rule(raw: JsonObject) -> Rule | None:
    projects = tuple(sorted(texts_of(raw, "project_ids")))
    organization_id = text_of(raw, "organization_id") if raw.get("organization_id") else ""
    if bool(projects) == bool(organization_id):
        return None
    sets = tuple(sorted(set(texts_of(raw, "permission_set_names"))))
    if not sets:
        return None
    return Rule(sets, projects, organization_id, exact_text_of(raw, "condition"))


def check_rules(answer: Reply, wanted: Iterable[Rule]) -> None:
    """Check that set_rules answers the wanted rules. Raises Malformed, Inconsistent."""
    rows = list_of(json_object(answer.body), "rules")
    if {_rule(row) for row in rows} != set(wanted):
        raise Inconsistent("the answer shows other rules than were set")


def principals_page(answer: Reply, kind: str) -> Page[Principal]:
    """Read a page of applications, users or groups. Raises Malformed."""
    rows, total = counted_list(answer, f"{kind}s")
    return Page(tuple((uuid_of(row, "id"), _principal(row, kind)) for row in rows), total)


def _principal(raw: JsonObject, kind: str) -> Principal:
    if kind == "user":
        is_owner = text_of(raw, "type") == "owner"
        return Principal(kind, uuid_of(raw, "id"), nonempty_text_of(raw, "email"), is_owner)
    members: tuple[str, ...] = ()
    if kind == "group":
        if "user_ids" not in raw or "application_ids" not in raw:
            raise Malformed("a group lists its members")
        members = texts_of(raw, "user_ids") + texts_of(raw, "application_ids")
    return Principal(kind, uuid_of(raw, "id"), text_of(raw, "name"), members=members)


def key_holder_id(answer: Reply) -> str:
    """The id of the holder in an answer of get_api_key. Raises Malformed."""
    raw = json_object(answer.body)
    return uuid_of(raw, "user_id" if raw.get("user_id") else "application_id")
