"""release-all tries every policy, ends every intent and releases the lease."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict

import pytest

from quotas.book.cycle.lease import acquire, seize
from quotas.book.cycle.revoked_rules import record_revocation
from quotas.book.cycle.state import load_state
from quotas.book.schema.tables import NOTICE
from quotas.iam.closing import RULE
from quotas.iam.narrowing import NarrowedRule, RevokedRules
from quotas.iam.policies import Rule
from quotas.messages.catalogue.operators import result_text
from scheduler.act.release_all import LEASE_S, preview_release, release_all
from scheduler.clouds.base import CloudError, Forbidden, Unreachable
from tests.builders import a_notice

from ..harness import PROJECT, Harness
from ..iam_harness import intents

FULL = Rule(("InstancesFullAccess",), (PROJECT,), "", "")
SLOW_S = 25


class SlowIam:
    """Policies in memory; each call takes its time, and a `before` hook may fail it."""

    def __init__(self, harness: Harness, call_s: int = SLOW_S) -> None:
        self._clock, self._call_s = harness.clock, call_s
        self.restored: dict[str, tuple[Rule, ...]] = {}
        self.before: dict[str, Callable[[], None]] = {}

    def _call(self, policy_id: str) -> None:
        self._clock.move_to(self._clock.now_s() + self._call_s)
        self.before.get(policy_id, lambda: None)()

    def rules(self, policy_id: str) -> tuple[Rule, ...]:
        """The rules of a policy, empty until they were given back."""
        self._call(policy_id)
        return self.restored.get(policy_id, ())

    def set_rules(self, policy_id: str, rules: Iterable[Rule]) -> None:
        """Replace them."""
        self._call(policy_id)
        self.restored[policy_id] = tuple(rules)

    def policies(self) -> tuple[()]:
        """Unused: giving back does not read this."""
        raise NotImplementedError

    def principals(self, _kind: str) -> tuple[()]:
        """Unused: giving back does not read this."""
        raise NotImplementedError

    def key_holder(self) -> str:
        """Unused: giving back does not read this."""
        raise NotImplementedError


def closed(*policies: str) -> Harness:
    """A book with a revoked rule for each policy: "acme/p1" is p1 of acme's."""
    harness = Harness()
    lease = seize(harness.book, "a daemon", harness.clock.now_s(), 180)
    for each in policies:
        startup, _, id = each.partition("/")
        revoked = (NarrowedRule(FULL, None),)
        record_revocation(
            harness.book,
            RevokedRules(startup, id, id, (FULL,), revoked, harness.clock.now_s()),
            lease,
        )
        told = a_notice(
            "", startup=startup, rule=RULE, episode="close:credits:1", state="announced"
        )
        with harness.book.writing() as connection:
            row = {k: v for k, v in asdict(told).items() if k != "id"}
            connection.execute(NOTICE.insert().values(row))
    assert len(load_state(harness.book).enforcement.closed) == len(
        {p.partition("/")[0] for p in policies}
    )
    return harness


def failing(error: CloudError) -> Callable[[], None]:
    """A call that fails."""

    def fail() -> None:
        raise error

    return fail


def is_free(harness: Harness) -> bool:
    """Whether a daemon may lead at once."""
    return acquire(harness.book, "another", harness.clock.now_s(), 180) is not None


def withheld(harness: Harness) -> list[object]:
    """The policies that still lack a rule."""
    return [row["policy_id"] for row in harness.all("revoked_rules") if row["state"] == "revoked"]


def test_a_slow_iam_does_not_outlast_the_lease() -> None:
    """With four policies of a hundred seconds each, each renews the lease; then it is released."""
    harness = closed("acme/p0", "acme/p1", "acme/p2", "acme/p3")
    iam = SlowIam(harness)
    (dry,) = preview_release(harness.book, iam, harness.clock)
    assert len(dry.restored) == 4 and not dry.error
    (found,) = release_all(harness.book, iam, harness.clock, "why", "ann")
    assert [each.policy_id for each in found.restored] == [
        "p0",
        "p1",
        "p2",
        "p3",
    ] and not found.error
    assert intents(harness) == [("reopen", "confirmed")]
    assert withheld(harness) == [] and is_free(harness)
    assert load_state(harness.book).enforcement.closed == {}, "who starts something now may"


def test_every_policy_is_tried_and_every_error_told() -> None:
    """An unreachable, forbidden or slow policy is reported by name; the others get their rules."""
    harness = closed(
        "acme/down", "acme/slow", "acme/fine", "birch/shut", "birch/good", "cedar/last"
    )
    iam = SlowIam(harness)
    iam.before = {
        "down": failing(Unreachable("no answer in time")),
        "slow": lambda: harness.clock.move_to(harness.clock.now_s() + LEASE_S - 30),
        "shut": failing(Forbidden("403")),
    }
    acme, birch, cedar = release_all(harness.book, iam, harness.clock, "why", "ann")
    assert acme.error.startswith("down: no answer in time; slow: IAM is so slow that only")
    assert [each.policy_id for each in acme.restored] == ["fine"] and not acme.is_refused
    assert birch.error == "shut: 403" and birch.is_refused
    assert [each.policy_id for each in birch.restored] == ["good"]
    assert cedar.restored and not cedar.error
    assert [state for _, state in intents(harness)] == ["failed", "failed", "confirmed"]
    assert "shut: 403; restored good" in result_text(harness.all("intent")[1]["result"])
    assert withheld(harness) == ["down", "slow", "shut"] and is_free(harness)
    assert not any(
        each.error for each in release_all(harness.book, SlowIam(harness), harness.clock, "w", "a")
    )


def test_a_daemon_that_took_the_lease_is_told_by_startup_and_leads_on() -> None:
    """After a call that hung for longer than the lease, nothing more is written under it."""
    harness = closed("acme/p0", "birch/p1")

    def hang() -> None:
        harness.clock.move_to(harness.clock.now_s() + LEASE_S)
        acquire(harness.book, "a daemon", harness.clock.now_s(), 180)

    iam = SlowIam(harness)
    iam.before["p0"] = hang
    acme, birch = release_all(harness.book, iam, harness.clock, "why", "ann")
    assert acme.error and "a daemon took the lease" in birch.error and "run it again" in birch.error
    assert [row["holder"] for row in harness.all("lease")] == ["a daemon"] and not is_free(harness)
    assert withheld(harness) == ["p0", "p1"]
    assert {state for _, state in intents(harness)} == {"pending"}, "the daemon ends them"


def test_an_interruption_leaves_no_order_open_and_no_lease() -> None:
    """After Ctrl-C in the second of three startups, the remaining intents are abandoned."""
    harness = closed("acme/p0", "birch/p1", "cedar/p2")

    def interrupt() -> None:
        raise KeyboardInterrupt

    iam = SlowIam(harness)
    iam.before["p1"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        release_all(harness.book, iam, harness.clock, "why", "ann")
    assert [state for _, state in intents(harness)] == ["confirmed", "abandoned", "abandoned"]
    assert withheld(harness) == ["p1", "p2"] and is_free(harness)
