"""Parses every file of the repository for the checks of style."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
PACKAGES = ("scheduler", "quotas", "exporters", "simulator")
REVISIONS = "quotas.migrations.versions."
"""Alembic revisions: frozen lists of tables, loaded by path, exempt from function sizes."""


@dataclass(frozen=True)
class Module:
    """One file of ours, parsed."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def lines(self) -> int:
        return len(self.text.splitlines())

    def where(self, node: ast.AST) -> str:
        return f"{self.path.relative_to(REPO)}:{getattr(node, 'lineno', 1)}"


def read(path: Path) -> Module:
    name = ".".join(path.relative_to(REPO).with_suffix("").parts).removesuffix(".__init__")
    text = path.read_text()
    return Module(name, path, text, ast.parse(text))


@cache
def product() -> tuple[Module, ...]:
    paths = sorted(path for package in PACKAGES for path in (REPO / package).rglob("*.py"))
    return tuple(read(path) for path in paths)


@cache
def beside() -> tuple[Module, ...]:
    """Tests and benchmarks."""
    paths = [*(REPO / "tests").rglob("*.py"), *(REPO / "bench").rglob("*.py")]
    return tuple(read(path) for path in sorted(paths))


def functions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def imports(module: Module, names: set[str]) -> set[str]:
    """Which of `names` the module imports, anywhere in it, for types too."""
    found: set[str] = set()
    package = module.name if module.path.name == "__init__.py" else module.name.rpartition(".")[0]
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
            origin = ".".join(filter(None, (base, node.module or "")))
            inner = {f"{origin}.{alias.name}" for alias in node.names} & names
            # `from package import module` needs the module, not its package's own file.
            others = {alias.name for alias in node.names} - {i.rpartition(".")[2] for i in inner}
            found |= inner | ({origin} if others else set())
    return (found & names) - {module.name}


@cache
def graph() -> dict[str, set[str]]:
    names = {module.name for module in product()}
    return {module.name: imports(module, names) for module in product()}


def aliases(module: Module) -> dict[str, str]:
    """What each imported name of the module stands for, with a class's module left out."""
    known: dict[str, str] = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            known |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                of_class = node.module == "datetime"
                full = alias.name if of_class else f"{node.module}.{alias.name}"
                known[alias.asname or alias.name] = full
    return known


def uses(module: Module, names: dict[str, str]) -> Iterator[tuple[ast.AST, str]]:
    """Every place where a dotted name of `names` is called or handed on."""
    known = aliases(module)
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Attribute | ast.Name) or isinstance(node.ctx, ast.Store):
            continue
        head, _, rest = ast.unparse(node).partition(".")
        full = ".".join(filter(None, (known.get(head, head), rest)))
        full = full.removeprefix("datetime.") if full.count(".") > 1 else full
        if full in names:
            yield node, full


def calls(module: Module) -> set[int]:
    return {id(node.func) for node in ast.walk(module.tree) if isinstance(node, ast.Call)}
