"""The checks of IAM: whether cohortd can close startups, and which principals can bypass that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from quotas.config.load import parse_program
from quotas.iam.bypasses import bypasses
from quotas.iam.closing import projects_at
from quotas.iam.narrowing import is_own
from quotas.iam.policies import Policy, Principal
from quotas.model.program import Program, ProgramError
from scheduler.checks.check import Check
from scheduler.clouds.base import CloudError
from scheduler.clouds.permissions import Permissions
from scheduler.config import ConfigError

RULE_WRITING_SETS = frozenset({"IAMManager", "IAMPolicyManager", "OrganizationManager"})
PERMISSION_SETS = {
    "application": "IAMApplicationReadOnly",
    "group": "IAMGroupReadOnly",
    "user": "IAMUserReadOnly",
}
NO_KEY = (
    "no key for IAM is set (SCW_IAM_ACCESS_KEY): a closing is only announced, and servers "
    "that the startup starts are stopped after notice"
)


def permission_checks(
    connect: Callable[[], Permissions | None], text: str, file: str, now_s: int
) -> Iterator[Check]:
    """Check the key for IAM, and name every bypass of a closing. Nothing is changed."""
    try:
        permissions = connect()
    except ConfigError as error:
        yield Check("IAM key", False, str(error), "set both of SCW_IAM_*, or neither")
        return
    if permissions is None:
        yield Check("IAM key", True, NO_KEY)
        return
    try:
        policies = permissions.policies()
    except CloudError as error:
        fix = "give the IAM key's application IAMPolicyManager in the organization"
        yield Check("IAM policies", False, str(error), fix)
        return
    yield Check("IAM policies", True, f"the key reads {len(policies)} policies")
    principals: list[Principal] = []
    for kind, needed in PERMISSION_SETS.items():
        try:
            principals += permissions.principals(kind)
        except CloudError as error:
            fix = f"give the IAM key {needed}, so that {kind}s can be named"
            yield Check(f"IAM {kind}s", False, str(error), fix)
    yield _writing(permissions, policies, principals)
    program = _program(text, file)
    if program is not None:
        yield from _startups(program, policies, principals, now_s)


def _writing(
    permissions: Permissions, policies: Iterable[Policy], principals: Iterable[Principal]
) -> Check:
    """Whether the key may set rules, by its own policies, because a check writes nothing."""
    fix = "give the IAM key's application IAMPolicyManager in the organization"
    try:
        key_holder = permissions.key_holder()
    except CloudError as error:
        return Check("IAM rules", False, f"whether the key may set rules is unknown: {error}", fix)
    own = [each for each in principals if each.id == key_holder or key_holder in each.members]
    holders = {key_holder} | {each.id for each in own}
    sets = {
        name
        for policy in policies
        if policy.holder_id in holders
        for rule in policy.rules
        if rule.organization_id
        for name in rule.sets
    }
    if RULE_WRITING_SETS & sets or any(each.is_owner for each in own):
        return Check("IAM rules", True, "the key may set rules")
    return Check("IAM rules", False, "no policy of the key lets it set rules", fix)


def _startups(
    program: Program, policies: Iterable[Policy], principals: Iterable[Principal], now_s: int
) -> Iterator[Check]:
    projects, policies = projects_at(program, now_s), tuple(policies)
    for startup, own in sorted(projects.items()):
        names = [policy.name for policy in policies if is_own(policy, own)]
        detail = f"closing it narrows {', '.join(names)}"
        if not names:
            detail = "no policy of its own lets anybody start servers in its projects"
        yield Check(f"closing {startup}", True, detail)
    for each in bypasses(policies, principals, projects):
        fix = "replace it by InstancesFullAccess, or parts of it, in the startup's projects only"
        yield Check("bypass", not each.is_startups, f"{each.who} {each.how}", fix)


def _program(text: str, file: str) -> Program | None:
    """The program if the file is valid; `run_checks` reports a file that is not."""
    try:
        return parse_program(text, file)
    except ProgramError:
        return None
