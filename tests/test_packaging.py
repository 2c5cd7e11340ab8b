"""Packaging: a fresh clone installs the locked versions, and each dependency is documented."""

from __future__ import annotations

import re
import subprocess
import tomllib
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPO = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())
RUNTIME = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
EXTRAS = [
    Requirement(text)
    for group in PROJECT["project"]["optional-dependencies"].values()
    for text in group
]
GROUPS = {
    name: [Requirement(text) for text in group]
    for name, group in PROJECT["dependency-groups"].items()
}
WANTED = {
    "requirements.lock": RUNTIME,
    "requirements-dev.lock": RUNTIME + EXTRAS + GROUPS["dev"],
    "requirements-build.lock": GROUPS["build"],
    "requirements-fuzz.lock": GROUPS["fuzz"],
}
PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)(.*(?:\n {4}.*)*)", re.MULTILINE)
TARGETS = ("demo", "test", "lint", "bench", "soak", "fuzz")


def pins(lock: str) -> dict[str, tuple[str, str]]:
    """Each name with its version and hashes."""
    found = PIN.findall((REPO / lock).read_text())
    return {canonicalize_name(name): (pinned, rest) for name, pinned, rest in found}


def documented() -> dict[str, str]:
    """Each name with its purpose, from the tables of docs/dependencies.md."""
    rows = re.findall(
        r"^\| `([^`]+)` \| (.*) \|$", (REPO / "docs/dependencies.md").read_text(), re.MULTILINE
    )
    return {canonicalize_name(name): purpose for name, purpose in rows}


@pytest.mark.parametrize("lock", WANTED)
def test_lock_is_current(lock: str) -> None:
    """Each requirement of pyproject.toml has a pin that satisfies it."""
    locked = pins(lock)
    names = {canonicalize_name(wanted.name): wanted.specifier for wanted in WANTED[lock]}
    assert names.keys() <= locked.keys()
    stale = [f"{n}{names[n]}" for n in names if not names[n].contains(locked[n][0])]
    assert stale == [], "run make lock"


@pytest.mark.parametrize("lock", WANTED)
def test_every_pin_has_a_hash_and_no_address(lock: str) -> None:
    """A lock has only pins with hashes, so that any index can serve it."""
    text = (REPO / lock).read_text()
    lines = [line for line in text.splitlines() if line]
    shape = re.compile(r"[A-Za-z0-9._-]+==\S+( ; .*)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?")
    assert [line for line in lines if not shape.fullmatch(line)] == []
    assert [name for name, (_, rest) in pins(lock).items() if "--hash=" not in rest] == []


def test_locks_agree() -> None:
    """A package in two locks has one version."""
    dev = pins("requirements-dev.lock")
    for lock in ("requirements.lock", "requirements-build.lock"):
        mine = pins(lock)
        assert {n: mine[n][0] for n in mine if n in dev and mine[n][0] != dev[n][0]} == {}


def test_dependencies_are_documented() -> None:
    """docs/dependencies.md names each direct dependency with its purpose, and no other."""
    direct = RUNTIME + EXTRAS + [each for group in GROUPS.values() for each in group]
    rows = documented()
    assert sorted(rows) == sorted({canonicalize_name(each.name) for each in direct})
    assert [name for name, purpose in rows.items() if len(purpose.split()) < 4] == []


def test_command_is_installed() -> None:
    """The distribution provides the command cohortd."""
    (script,) = entry_points(group="console_scripts", name="cohortd")
    assert script.value == "scheduler.cli:main"


def test_changelog_knows_this_version() -> None:
    """The newest entry of the changelog has the version of pyproject.toml, as installed."""
    newest = re.search(r"^## (\S+)", (REPO / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest.group(1) == PROJECT["project"]["version"] == version("cohortd")


def test_licence_is_the_one_declared() -> None:
    """The licence file is the whole text of the licence in the metadata."""
    text = (REPO / "LICENSE").read_text()
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert "Version 2.0, January 2004" in text and "END OF TERMS AND CONDITIONS" in text


@pytest.mark.parametrize("target", TARGETS)
def test_make_target_is_described(target: str) -> None:
    """`make help` lists the target, and a dry run finds all its inputs."""
    listed = subprocess.run(["make", "help"], cwd=REPO, capture_output=True, text=True, timeout=60)
    assert re.search(rf"^make {target} +\S", listed.stdout, re.MULTILINE), listed.stdout
    dry = subprocess.run(
        ["make", "--dry-run", target], cwd=REPO, capture_output=True, text=True, timeout=60
    )
    assert dry.returncode == 0, dry.stderr


def test_relative_links_lead_somewhere() -> None:
    """Each relative link of a document names a file of the checkout."""
    broken = []
    for page in [*REPO.glob("*.md"), *(REPO / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(REPO)}: {target}")
    assert broken == []
