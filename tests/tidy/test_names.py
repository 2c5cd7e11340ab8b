"""Names and docstrings: no refused word, and a statement for every module and test."""

from __future__ import annotations

import ast
import re

from .source import (
    REPO,
    beside,
    functions,
    product,
)

BANNED_NAMES = {
    "utils": "the name of the one thing that the module does",
    "util": "the name of the one thing that the module does",
    "helpers": "the name of what it helps with",
    "common": "the name of what is shared",
    "misc": "several modules",
    "manager": "the name of what it does: loop, book, observer",
    "tenant": "startup",
    "team": "startup",
    "amends": "notice compensation",
    "birth": "labels created when a startup appears",
    "births": "labels created when a startup appears",
    "deed": "action",
    "deeds": "actions",
    "dispute": "unconfirmed",
    "disputed": "unconfirmed",
    "forfeit": "expire",
    "forfeited": "expired",
    "guard": "disruption budget",
    "hall": "queue context",
    "heard": "announced",
    "leaked": "standby",
    "lendable": "nothing: a tranche lends to no other tranche",
    "loan": "nothing: a tranche lends to no other tranche",
    "parcel": "delivery",
    "spoken": "changed",
    "told": "announced",
    "untold": "not announced",
    "withheld": "revoked",
}


def words(name: str) -> list[str]:
    """The words of an identifier."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().split("_")


def test_names_say_what_a_thing_is() -> None:
    """No module, class, function or parameter has a refused word in its name."""
    found = []
    for module in product():
        names = [(module.tree, part) for part in module.name.split(".")]
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                names.append((node, node.name))
            elif isinstance(node, ast.arg):
                names.append((node, node.arg))
        found += [
            f"{module.where(node)}: {name}, use {BANNED_NAMES[word]}"
            for node, name in names
            for word in words(name)
            if word in BANNED_NAMES
        ]
    assert found == []


def test_every_module_says_what_it_contains() -> None:
    """Every module, of tests and benchmarks too, begins with a statement."""
    first = {
        module.path.relative_to(REPO): (ast.get_docstring(module.tree) or "").partition("\n")[0]
        for module in (*product(), *beside())
    }
    assert [str(path) for path, line in first.items() if not line] == []
    assert [f"{path}: {line}" for path, line in first.items() if "?" in line] == []


def test_every_test_states_its_claim() -> None:
    """Every test has a docstring with its claim."""
    assert [
        f"{module.where(each)} {each.name}"
        for module in beside()
        if module.path.name.startswith("test_")
        for each in functions(module)
        if each.name.startswith("test_") and not ast.get_docstring(each)
    ] == []
