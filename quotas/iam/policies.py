"""IAM policies with their rules, and the principals that hold them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """Permission sets in some projects, or (organization_id) in all of an organization.

    Names and ids are sorted. The rule's own id is left out, because setting the rules of a policy
    gives every rule a new id.
    """

    sets: tuple[str, ...]
    project_ids: tuple[str, ...] = ()
    organization_id: str = ""
    condition: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy and its holder ("" if it has none).

    `is_editable` is false if Scaleway manages the policy, or if cohortd could not write the scope
    of one of its rules back.
    """

    id: str
    name: str
    holder_kind: str
    holder_id: str
    rules: tuple[Rule, ...]
    is_editable: bool = True
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Principal:
    """An application, a user, or a group with the ids of its members."""

    kind: str
    id: str
    name: str
    is_owner: bool = False
    members: tuple[str, ...] = ()
