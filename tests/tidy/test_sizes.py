"""Sizes: files, functions and packages stay small, and tests outweigh code.

Each number is a ratchet: tighten it when the code allows, never loosen it for a change.
"""

from __future__ import annotations

import ast
import statistics
from pathlib import Path

from .source import (
    REPO,
    REVISIONS,
    beside,
    functions,
    product,
)

FILE_LINES = {"median": 150, "p90": 300, "max": 400}
FUNCTION_LINES = {"median": 8, "p90": 30, "max": 60}
PACKAGE_ENTRIES = 14
"""Modules and packages in one package of the product, so that its listing is read at a glance."""
TEST_LINES_PER_CODE_LINE = 1.14


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def spread(sizes: list[int]) -> dict[str, float]:
    return {
        "median": statistics.median(sizes),
        "p90": statistics.quantiles(sizes, n=10)[-1],
        "max": max(sizes),
    }


def above(measured: dict[str, float], budget: dict[str, int]) -> dict[str, float]:
    return {name: value for name, value in measured.items() if value > budget[name]}


def test_files_are_short() -> None:
    """Files of the product stay within the budget: median, p90, longest."""
    measured = spread([module.lines for module in product()])
    longest = max(product(), key=lambda module: module.lines)
    assert not above(measured, FILE_LINES), f"{measured}; the longest is {longest.path}: split it"


def test_packages_are_small() -> None:
    """A package of the product has few entries of its own, so that each is found by looking."""
    entries: dict[Path, set[str]] = {}
    for module in product():
        path = module.path.parent if module.path.name == "__init__.py" else module.path
        entries.setdefault(path.parent, set()).add(path.name)
    large = {
        str(folder.relative_to(REPO)): len(names)
        for folder, names in entries.items()
        if len(names) > PACKAGE_ENTRIES and folder != REPO
    }
    assert large == {}


def test_functions_are_short() -> None:
    """Functions of the product stay within the budget: median, p90, longest."""
    sizes = {
        f"{module.where(each)} {each.name}": length(each)
        for module in product()
        if not module.name.startswith(REVISIONS)
        for each in functions(module)
    }
    long = [f"{where}: {size}" for where, size in sizes.items() if size > FUNCTION_LINES["max"]]
    assert not above(spread(list(sizes.values())), FUNCTION_LINES), long


def test_tests_outweigh_code() -> None:
    """Tests have at least the ratchet's lines for each line of the product."""
    tests = sum(m.lines for m in beside() if m.name.startswith("tests"))
    code = sum(m.lines for m in product())
    assert tests >= TEST_LINES_PER_CODE_LINE * code, f"{tests} lines of tests, {code} of code"
