"""kill -9 around set_rules: the next daemon ends where an uncrashed one ends.

A child process runs the cycle and kills itself at one point; IAM is a region over HTTP,
which outlives it as Scaleway would. The parent then runs the cycle again.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import event

from quotas.book import Book
from quotas.book.verify.verify import verify
from simulator.process import Running, running

from ..harness import END, Harness
from ..iam_harness import GRANULAR, IamEnv, intents

Hook = Callable[[str], None]
CALLS = ("policies", "rules", "set_rules")


@pytest.fixture(scope="module")
def iam_env() -> Iterator[IamEnv]:
    """One organization for all crashes: each case begins with the same rules."""
    with running("--clock", "controller", "--seed", "12", "--no-workload") as region:
        yield IamEnv(region)


def watch(harness: Harness, hook: Hook) -> None:
    """Call the hook before and after each call to IAM, and before each commit of the book."""
    of: Running | object = harness.cycle.permissions
    for name in CALLS:
        call = getattr(of, name)

        def wrapped(*args: object, of: Callable[..., object] = call, name: str = name) -> object:
            hook(f"before {name}")
            answer = of(*args)
            hook(f"after {name}")
            return answer

        setattr(harness.cycle.permissions, name, wrapped)
    event.listen(harness.book.engine, "commit", lambda _: hook("COMMIT"))


def daemon(iam_env: IamEnv, folder: Path) -> Harness:
    """A daemon that starts on an existing book, at the instant when the last one died or began."""
    harness = iam_env.harness(Book.open(folder))
    harness.clock.move_to(END - 30)
    return harness


def points(iam_env: IamEnv, folder: Path, step: Callable[[Harness], None]) -> list[str]:
    """The points of a step without a crash."""
    names: list[str] = []
    harness = daemon(iam_env, folder)
    watch(harness, names.append)
    step(harness)
    harness.book.close()
    return names


def killed_at(iam_env: IamEnv, folder: Path, point: int, step: Callable[[Harness], None]) -> None:
    """Run a step in a child that kills itself at a point."""
    child = os.fork()
    if child == 0:
        try:
            seen: list[str] = []

            def hook(name: str) -> None:
                seen.append(name)
                if len(seen) - 1 == point:
                    os.kill(os.getpid(), signal.SIGKILL)

            harness = daemon(iam_env, folder)
            watch(harness, hook)
            step(harness)
        finally:
            os._exit(7)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status


def announced(iam_env: IamEnv) -> str:
    """The policy that acme's project was created with: closing narrows it too."""
    path = f"/iam/v1alpha1/policies?organization_id={iam_env.region.organization_id}"
    listed = iam_env.client.ask("GET", f"{path}&page_size=100").json()["policies"]
    name = iam_env.region.projects[0].name
    return str(next(policy["id"] for policy in listed if policy["name"] == name))


def closing(iam_env: IamEnv) -> Callable[[Harness], None]:
    """Acme's cohort ends, and one cycle closes acme."""
    return iam_env.closed


def reopening(iam_env: IamEnv) -> Callable[[Harness], None]:
    """Acme's cohort is prolonged, and one cycle gives everything back."""

    def step(harness: Harness) -> None:
        iam_env.prolong(harness)
        harness.clock.move_to(END)
        harness.run(60)

    return step


def test_a_kill_at_any_point_of_a_closing_changes_nothing_in_the_end(
    iam_env: IamEnv, tmp_path: Path
) -> None:
    """Killed around the record, the call or the mark, acme ends closed and recorded once."""
    made, blank = iam_env.startup(*GRANULAR), tmp_path / "blank"
    first, whole = announced(iam_env), iam_env.rule(*GRANULAR)
    iam_env.edit(first, whole)
    daemon(iam_env, blank).book.close()
    shutil.copytree(blank, tmp_path / "whole")
    names = points(iam_env, tmp_path / "whole", closing(iam_env))
    assert names.count("before set_rules") >= 1 and "COMMIT" in names
    for point, name in enumerate(names):
        iam_env.edit(made["policy_id"], whole)
        iam_env.edit(first, whole)
        folder = tmp_path / f"point-{point}"
        shutil.copytree(blank, folder)
        killed_at(iam_env, folder, point, closing(iam_env))
        harness = daemon(iam_env, folder)
        iam_env.closed(harness)
        harness.run(200)
        harness.run(30)
        assert iam_env.rules(made["policy_id"]) == [["InstancesReadOnly"]], name
        own = [row for row in harness.all("revoked_rules") if row["policy_id"] == made["policy_id"]]
        assert [row["state"] for row in own] == ["revoked"], name
        assert intents(harness) == [("close", "confirmed")], name
        assert verify(harness.book).fault is None, name
        harness.book.close()


def test_a_kill_at_any_point_of_a_reopening_changes_nothing_in_the_end(
    iam_env: IamEnv, tmp_path: Path
) -> None:
    """Killed while giving back, acme has every rule once, and the record is ended."""
    made, blank = iam_env.startup(*GRANULAR), tmp_path / "blank"
    first, left = announced(iam_env), iam_env.rule("InstancesReadOnly")
    iam_env.edit(first, iam_env.rule(*GRANULAR))
    harness = daemon(iam_env, blank)
    iam_env.closed(harness)
    harness.book.close()
    shutil.copytree(blank, tmp_path / "whole")
    names = points(iam_env, tmp_path / "whole", reopening(iam_env))
    assert names.count("before set_rules") >= 1
    for point, name in enumerate(names):
        iam_env.edit(made["policy_id"], left)
        iam_env.edit(first, left)
        folder = tmp_path / f"point-{point}"
        shutil.copytree(blank, folder)
        killed_at(iam_env, folder, point, reopening(iam_env))
        harness = iam_env.harness(Book.open(folder))
        iam_env.prolong(harness)
        harness.clock.move_to(END + 260)
        harness.run(0)
        harness.run(30)
        assert iam_env.rules(made["policy_id"]) == [sorted(GRANULAR)], name
        assert {row["state"] for row in harness.all("revoked_rules")} == {"ended"}, name
        assert intents(harness)[-1] == ("reopen", "confirmed") and len(intents(harness)) == 2, name
        assert verify(harness.book).fault is None, name
        harness.book.close()
