"""A daemon whose servers are in memory and whose IAM is a simulated region over HTTP."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from scaleway import ScalewayException  # type: ignore[import-untyped]
from scaleway.instance.v1 import InstanceV1API  # type: ignore[import-untyped]
from scaleway.instance.v1.types import ServerAction  # type: ignore[import-untyped]

from quotas.book import Book
from quotas.book.cycle.commit import apply_program
from quotas.model.program import Cohort, Grant, Mode, Program, Startup, Tenure
from scheduler.clock import monotonic
from scheduler.clouds.permissions import LIMITS, ScalewayPermissions
from scheduler.clouds.scaleway import client_of
from scheduler.clouds.transport import Transport
from simulator.process import Running
from tests.simulator.client import ZONE, Client
from tests.simulator.test_sdk import sdk

from .harness import DAY_S, END, T0, Harness, program

CLOSER = ("IAMPolicyManager", "IAMApplicationReadOnly", "IAMGroupReadOnly", "IAMUserReadOnly")
FULL = ("InstancesFullAccess",)
GRANULAR = ("InstancesReadOnly", "InstancesServerCreate", "InstancesServerStart")


def permissions_of(region: Running, key: dict[str, Any]) -> ScalewayPermissions:
    """IAM through one key, without pauses between attempts."""
    client = client_of(
        access_key=key["access_key"],
        secret_key=key["secret_key"],
        organization_id=region.organization_id,
        api_url=region.url,
    )
    transport = Transport(limits=LIMITS, monotonic=monotonic, sleep=lambda _: None)
    return ScalewayPermissions(client, transport)


class IamEnv:
    """An organization: IAM over HTTP, a startup acme in it, and a daemon with a key for IAM."""

    def __init__(self, region: Running, *sets: str) -> None:
        """`sets` are what the daemon's key for IAM may do."""
        self.region = region
        self.client = Client(region)
        self.project = region.projects[0].id
        wide = {"permission_set_names": sets or CLOSER}
        wide["organization_id"] = region.organization_id
        self.key = self._principal("cohortd", [wide])

    def _principal(self, name: str, rules: list[Any], **more: object) -> dict[str, Any]:
        return self.client.control(
            "POST", "principals", kind="application", name=name, rules=rules, **more
        )

    def startup(self, *sets: str) -> dict[str, Any]:
        """One more application of acme's with a key, and a policy for acme's project."""
        return self._principal("acme-ci", [self.rule(*sets)], project_id=self.project)

    def rule(self, *sets: str) -> dict[str, Any]:
        """A rule for acme's project, as the API takes it."""
        return {"permission_set_names": list(sets), "project_ids": [self.project]}

    def rules(self, policy_id: str) -> list[list[str]]:
        """The permission sets of every rule of a policy now."""
        listed = self.client.ask("GET", f"/iam/v1alpha1/rules?policy_id={policy_id}").json()
        return [sorted(rule["permission_set_names"]) for rule in listed["rules"]]

    def edit(self, policy_id: str, *rules: dict[str, Any]) -> None:
        """What a person does in the console."""
        self.client.control("POST", "rules", policy_id=policy_id, rules=list(rules))

    def program(self, mode: Mode = "enforce", ends_s: int = END) -> Program:
        """Acme's program, whose cohort ends at an instant: then acme is stopped."""
        made = program(mode=mode)
        (cohort,) = made.cohorts
        (acme,) = cohort.startups
        own = replace(acme, projects=(Tenure(self.project, 0),))
        grants = tuple(replace(grant, expires_s=ends_s) for grant in acme.grants)
        own = replace(own, grants=grants)
        return replace(made, cohorts=(replace(cohort, ends_s=ends_s, startups=(own,)),))

    def harness(self, book: Book | None = None, mode: Mode = "enforce") -> Harness:
        """A daemon with the key for IAM, at a time when acme is open."""
        harness = Harness(self.program(mode), book)
        harness.cycle.permissions = permissions_of(self.region, self.key)
        return harness

    def closed(self, harness: Harness) -> None:
        """Let acme's cohort end, and one cycle see it."""
        harness.run(END - harness.clock.now_s())

    def reopened(self, harness: Harness) -> None:
        """Prolong acme's cohort, and let one cycle see it."""
        self.prolong(harness)
        harness.run(30)

    def prolong(self, harness: Harness) -> None:
        """Acme's cohort goes on for a hundred days more; its grant stays as it was posted."""
        longer = self.program()
        (cohort,) = longer.cohorts
        longer = replace(longer, cohorts=(replace(cohort, ends_s=END + 100 * DAY_S),))
        apply_program(harness.book, longer, T0, "tests")

    def pass_on(self, harness: Harness) -> None:
        """Acme's project passes to birch, whose cohort goes on for a hundred days more."""
        now_s, made = harness.clock.now_s(), self.program()
        (cohort,) = made.cohorts
        (acme,) = cohort.startups
        left = replace(acme, projects=(Tenure(self.project, 0, now_s),))
        (grant,) = acme.grants
        later = Grant("g2", grant.amount_ucr, now_s, END + 100 * DAY_S)
        birch = Startup("birch", "d", (Tenure(self.project, now_s),), grants=(later,))
        next_one = Cohort("d", now_s, END + 100 * DAY_S, (birch,))
        made = replace(made, cohorts=(replace(cohort, startups=(left,)), next_one))
        apply_program(harness.book, made, now_s, "tests")

    def start(self, secret_key: str, server_id: str) -> int:
        """Power a server on through the official SDK with somebody's key: the status."""
        return self.act(secret_key, server_id, ServerAction.POWERON)

    def act(self, secret_key: str, server_id: str, action: ServerAction) -> int:
        """An action through the official SDK: 202, or the status of its refusal."""
        api = InstanceV1API(sdk(self.region, secret_key))
        try:
            api.server_action(zone=ZONE, server_id=server_id, action=action)
        except ScalewayException as refused:
            return int(refused.status_code)
        return 202


def intents(harness: Harness) -> list[tuple[object, object]]:
    """Action and state of every intent about a startup, in the order of decision."""
    return [(row["action"], row["state"]) for row in harness.all("intent") if row["startup"]]
