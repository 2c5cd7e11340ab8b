"""docs/failure-modes.md names only existing things, and a test in each of its rows."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs/failure-modes.md").read_text()
ROWS = [line for line in TEXT.splitlines() if line.startswith("| ") and "| shown by |" not in line]
EVIDENCE = (ROOT / "docs/evidence.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT + EVIDENCE)))
METRICS = sorted(set(re.findall(r"`(cohortd_\w+)`", TEXT)))
LINKS = sorted(set(re.findall(r"\]\(([^)]+)\)", TEXT)))
PARTS = [
    "clock",
    "process",
    "database",
    "leads",
    "reading",
    "stopping",
    "world",
    "People",
    "The API",
    "Keys",
]


def names_in(file: str) -> set[str]:
    """The names of a file's test functions."""
    tree = ast.parse((ROOT / file).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def anchors(path: Path) -> set[str]:
    """The anchors that a page's headings make."""
    heads = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head).strip().lower().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("file", sorted({file for file, _ in NAMED}))
def test_every_named_test_exists(file: str) -> None:
    """A renamed or deleted test is found here, also if docs/evidence.md names it."""
    assert {name for of, name in NAMED if of == file} <= names_in(file)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:40])
def test_every_line_names_a_test_or_says_that_none_does(row: str) -> None:
    """Each row has four filled cells; the last one has tests, or says that there is none."""
    *_, shown = cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert len(cells) == 4 and all(cells)
    rest = re.sub(r"`tests/[\w/]+\.py::\w+`", "", shown)
    assert shown == "not shown by a test" or not rest.strip(", ")


@pytest.mark.parametrize("metric", METRICS)
def test_every_named_metric_is_exported(metric: str) -> None:
    """Each metric is in docs/metrics.md, which another test compares with /metrics."""
    assert f"| `{metric}` |" in (ROOT / "docs/metrics.md").read_text()


@pytest.mark.parametrize("link", LINKS)
def test_every_link_leads_somewhere(link: str) -> None:
    """Each link leads to an existing page and heading."""
    page, _, anchor = link.partition("#")
    assert (ROOT / "docs" / page).is_file()
    assert not anchor or anchor in anchors(ROOT / "docs" / page)


def test_every_runbook_is_led_to() -> None:
    """The page names every alert, except those of everyday events."""
    named = {Path(link).stem for link in LINKS if link.startswith("runbooks/")}
    ordinary = {"CohortdStartupClosed", "CohortdCreditsEndSoon", "CohortdServerInStandby"}
    assert {path.stem for path in (ROOT / "docs/runbooks").glob("*.md")} - named == ordinary


def test_every_class_of_faults_has_its_part() -> None:
    """Each runbook has the problem, the rule and a table of cases."""
    parts = re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]
    assert len(parts) == len(PARTS)
    for part, word in zip(parts, PARTS, strict=True):
        assert word in part.splitlines()[0]
        assert "**Problem.**" in part and "**Rule.**" in part and "| what if |" in part
