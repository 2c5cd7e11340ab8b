"""Tracked files: no machine's path, no index address, plain file names, our own packages."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from .source import (
    PACKAGES,
    REPO,
)


@pytest.fixture(scope="session")
def tracked() -> list[Path]:
    """The files that a clone would have."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=REPO, capture_output=True, text=True, check=True).stdout
    return [REPO / name for name in names.split("\0") if name and (REPO / name).is_file()]


MACHINE_PATH = re.compile(r"(?<![\w.}/-])/(?:work|tmp|root|farm)/")
INDEX_ADDRESS = re.compile(
    r"https?://[^ \"']*(?:/simple|/packages/|registry\.)|python" + r"hosted\.org|pypi" + r"\.org"
)


@pytest.mark.parametrize("pattern", [MACHINE_PATH, INDEX_ADDRESS], ids=["path", "index"])
def test_no_machine_in_the_tree(tracked: list[Path], pattern: re.Pattern[str]) -> None:
    """No tracked file names a path of somebody's machine or the address of a package index."""
    found = []
    for path in tracked:
        text = path.read_bytes().decode("utf-8", errors="replace")
        for match in pattern.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(f"{path.relative_to(REPO)}:{line}: {match.group()}")
    assert found == []


def test_names_of_files_are_plain(tracked: list[Path]) -> None:
    """No file has a name that a shell would take apart: such files are slips."""
    names = [str(path.relative_to(REPO)) for path in tracked]
    assert [name for name in names if not re.fullmatch(r"[\w./@+-]+", name)] == []


def test_packages_are_ours() -> None:
    """`import scheduler` finds cohortd's package: a distribution on the index has the same name."""
    show = f"import {', '.join(PACKAGES)}; print(*[p.__file__ for p in ({', '.join(PACKAGES)})])"
    done = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, cwd="/")
    assert done.stdout.split() == [str(REPO / name / "__init__.py") for name in PACKAGES]
