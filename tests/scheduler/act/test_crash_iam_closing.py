"""kill -9 around set_rules: whatever was done, the next daemon ends where an uncrashed one ends.

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

from ..harness import END, Rig
from ..iam_harness import GRANULAR, Office, intents

Hook = Callable[[str], None]
CALLS = ("policies", "rules", "set_rules")


@pytest.fixture(scope="module")
def office() -> Iterator[Office]:
    """One office for all crashes: each begins with the same rules."""
    with running("--clock", "controller", "--seed", "12", "--no-workload") as region:
        yield Office(region)


def watch(rig: Rig, hook: Hook) -> None:
    """Call the hook before and after each call to IAM, and before each commit of the book."""
    of: Running | object = rig.cycle.permissions
    for name in CALLS:
        call = getattr(of, name)

        def wrapped(*args: object, of: Callable[..., object] = call, name: str = name) -> object:
            hook(f"before {name}")
            answer = of(*args)
            hook(f"after {name}")
            return answer

        setattr(rig.cycle.permissions, name, wrapped)
    event.listen(rig.book.engine, "commit", lambda _: hook("COMMIT"))


def daemon(office: Office, folder: Path) -> Rig:
    """A daemon that starts on a book that is there, at the instant it died or began."""
    rig = office.rig(Book.open(folder))
    rig.clock.move_to(END - 30)
    return rig


def points(office: Office, folder: Path, step: Callable[[Rig], None]) -> list[str]:
    """The points of a step that nothing interrupts."""
    names: list[str] = []
    rig = daemon(office, folder)
    watch(rig, names.append)
    step(rig)
    rig.book.close()
    return names


def killed_at(office: Office, folder: Path, point: int, step: Callable[[Rig], None]) -> None:
    """Run a step in a child that kills itself at a point."""
    child = os.fork()
    if child == 0:
        try:
            seen: list[str] = []

            def hook(name: str) -> None:
                seen.append(name)
                if len(seen) - 1 == point:
                    os.kill(os.getpid(), signal.SIGKILL)

            rig = daemon(office, folder)
            watch(rig, hook)
            step(rig)
        finally:
            os._exit(7)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status


def announced(office: Office) -> str:
    """The policy that acme's project was born with: closing narrows it too."""
    path = f"/iam/v1alpha1/policies?organization_id={office.region.organization_id}"
    listed = office.client.ask("GET", f"{path}&page_size=100").json()["policies"]
    name = office.region.projects[0].name
    return str(next(policy["id"] for policy in listed if policy["name"] == name))


def closing(office: Office) -> Callable[[Rig], None]:
    """Acme's cohort ends: one cycle closes it."""
    return office.closed


def reopening(office: Office) -> Callable[[Rig], None]:
    """Acme's cohort was prolonged: one cycle gives everything back."""

    def step(rig: Rig) -> None:
        office.prolong(rig)
        rig.clock.move_to(END)
        rig.run(60)

    return step


def test_a_kill_at_any_point_of_a_closing_changes_nothing_in_the_end(
    office: Office, tmp_path: Path
) -> None:
    """Before recording, between record and call, between call and mark: closed, recorded once."""
    made, blank = office.startup(*GRANULAR), tmp_path / "blank"
    first, whole = announced(office), office.rule(*GRANULAR)
    office.edit(first, whole)
    daemon(office, blank).book.close()
    shutil.copytree(blank, tmp_path / "whole")
    names = points(office, tmp_path / "whole", closing(office))
    assert names.count("before set_rules") >= 1 and "COMMIT" in names
    for point, name in enumerate(names):
        office.edit(made["policy_id"], whole)
        office.edit(first, whole)
        folder = tmp_path / f"point-{point}"
        shutil.copytree(blank, folder)
        killed_at(office, folder, point, closing(office))
        rig = daemon(office, folder)
        office.closed(rig)
        rig.run(200)
        rig.run(30)
        assert office.rules(made["policy_id"]) == [["InstancesReadOnly"]], name
        own = [row for row in rig.all("withheld") if row["policy_id"] == made["policy_id"]]
        assert [row["state"] for row in own] == ["withheld"], name
        assert intents(rig) == [("close", "confirmed")], name
        assert verify(rig.book).fault is None, name
        rig.book.close()


def test_a_kill_at_any_point_of_a_reopening_changes_nothing_in_the_end(
    office: Office, tmp_path: Path
) -> None:
    """Whatever was given back before the kill: all is there once, the record is ended."""
    made, blank = office.startup(*GRANULAR), tmp_path / "blank"
    first, left = announced(office), office.rule("InstancesReadOnly")
    office.edit(first, office.rule(*GRANULAR))
    rig = daemon(office, blank)
    office.closed(rig)
    rig.book.close()
    shutil.copytree(blank, tmp_path / "whole")
    names = points(office, tmp_path / "whole", reopening(office))
    assert names.count("before set_rules") >= 1
    for point, name in enumerate(names):
        office.edit(made["policy_id"], left)
        office.edit(first, left)
        folder = tmp_path / f"point-{point}"
        shutil.copytree(blank, folder)
        killed_at(office, folder, point, reopening(office))
        rig = office.rig(Book.open(folder))
        office.prolong(rig)
        rig.clock.move_to(END + 260)
        rig.run(0)
        rig.run(30)
        assert office.rules(made["policy_id"]) == [sorted(GRANULAR)], name
        assert {row["state"] for row in rig.all("withheld")} == {"ended"}, name
        assert intents(rig)[-1] == ("reopen", "confirmed") and len(intents(rig)) == 2, name
        assert verify(rig.book).fault is None, name
        rig.book.close()
