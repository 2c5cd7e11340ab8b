"""Checks of the style budget: sizes, cycles, clocks, names, docstrings, dead files, stray paths.

Each number is a ratchet: tighten it when the code allows, never loosen it for a change.
"""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
PACKAGES = ("scheduler", "quotas", "exporters", "simulator")

FILE_LINES = {"median": 150, "p90": 300, "max": 400}
FUNCTION_LINES = {"median": 8, "p90": 30, "max": 60}
PACKAGE_ENTRIES = 14
"""Modules and packages in one package of the product, so that its listing is read at a glance."""
TEST_LINES_PER_CODE_LINE = 1.14
ALLOWED = {"large packages": 0, "refused names": 0}
"""How many offenders are left of rules that are younger than the code. Lower these to 0."""

REVISIONS = "quotas.migrations.versions."
"""Alembic revisions: frozen lists of tables, loaded by path, exempt from function sizes."""

CLOCKS = {"scheduler.clock", "simulator.clock", "exporters.ctl.clock"}
CLOCK_READS = {
    "time.time": "Clock.now_s",
    "time.time_ns": "Clock.now_s",
    "time.monotonic": "Clock.monotonic",
    "time.monotonic_ns": "Clock.monotonic",
    "time.perf_counter": "Clock.monotonic",
    "time.perf_counter_ns": "Clock.monotonic",
    "time.sleep": "a sleep handed in, such as scheduler.clock.pause",
    "time.gmtime": "units.format_instant",
    "time.localtime": "units.format_instant",
    "datetime.now": "Clock.now_s",
    "datetime.utcnow": "Clock.now_s",
    "datetime.today": "Clock.now_s",
    "date.today": "Clock.now_s",
}
BANNED_CALLS = {
    "eval": "a parser",
    "exec": "a function",
    "hash": "hashlib: hash() differs from process to process",
    "breakpoint": "a test",
    "os.system": "subprocess.run with a list",
    "os.popen": "subprocess.run with a list",
    "pickle.load": "json",
    "pickle.loads": "json",
    "logging.getLogger": "structlog.get_logger",
    "uuid.uuid4": "a key derived from what it names, so that a replay finds it",
    "random.random": "random.Random(seed)",
    "random.randint": "random.Random(seed)",
    "random.choice": "random.Random(seed)",
    "random.shuffle": "random.Random(seed)",
    "requests.get": "scheduler.clouds.transport",
    "requests.post": "scheduler.clouds.transport",
    "requests.request": "scheduler.clouds.transport",
}
PRINTERS = ("scheduler.cli", "scheduler.demo.live", "exporters.ctl.cli", "simulator.__main__")
"""Modules that may print: what a person or a parent process reads."""

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
FLOATLESS_BUT = {
    "quotas.book.session": "'/' joins paths",
    "quotas.shares.engine.lent": "'/' divides Fractions, exactly",
    "quotas.shares.engine.fill": "floats choose how wide the integers are; none becomes an amount",
}
LOOP = "scheduler.loop"
ENTRY_POINTS = {
    "scheduler.cli",
    "exporters.ctl.cli",
    "exporters.dashboards.__main__",
    "simulator.__main__",
    "quotas.migrations.env",
}


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


@pytest.fixture(scope="session")
def tracked() -> list[Path]:
    """The files that a clone would have."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=REPO, capture_output=True, text=True, check=True).stdout
    return [REPO / name for name in names.split("\0") if name and (REPO / name).is_file()]


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
    assert len(large) <= ALLOWED["large packages"], large


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


def test_no_import_cycles() -> None:
    """The modules of the product can be put in an order in which each imports only earlier ones."""
    try:
        TopologicalSorter(graph()).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


def test_only_the_clock_reads_the_time() -> None:
    """No module but the clock reads or waits for the time: everything else is handed a clock."""
    assert [
        f"{module.where(node)}: {name}, use {CLOCK_READS[name]}"
        for module in product()
        if module.name not in CLOCKS
        for node, name in uses(module, CLOCK_READS)
    ] == []


def test_calls_with_a_better_way() -> None:
    """No call for which the project has a safer way."""
    assert [
        f"{module.where(node)}: {name}, use {BANNED_CALLS[name]}"
        for module in product()
        for node, name in uses(module, BANNED_CALLS)
        if id(node) in calls(module)
    ] == []


def test_only_the_command_line_prints() -> None:
    """Standard output belongs to the commands; everything else logs an event."""
    assert [
        module.where(node)
        for module in product()
        if not module.name.startswith(PRINTERS)
        for node, _ in uses(module, {"print": "structlog"})
    ] == []


def broad(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(k is None or ast.unparse(k) in {"Exception", "BaseException"} for k in kinds)


def test_one_broad_except_in_the_loop() -> None:
    """Exactly one handler catches everything, and it is the loop's."""
    found = [
        (module.name, module.where(node))
        for module in product()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ExceptHandler) and broad(node)
    ]
    assert [name for name, _ in found] == [LOOP], found


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
    assert len(found) <= ALLOWED["refused names"], found


def test_no_float_in_what_is_owed() -> None:
    """The package that computes amounts has no float: no literal, no float(), no true division."""
    found = []
    for module in product():
        if not module.name.startswith("quotas") or module.name in FLOATLESS_BUT:
            continue
        for node in ast.walk(module.tree):
            literal = isinstance(node, ast.Constant) and isinstance(node.value, float)
            made = isinstance(node, ast.Call) and ast.unparse(node.func) == "float"
            divided = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)
            if literal or made or divided:
                found.append(f"{module.where(node)}: {ast.unparse(node)}")
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
    """Every test has a docstring that says what must hold."""
    assert [
        f"{module.where(each)} {each.name}"
        for module in beside()
        if module.path.name.startswith("test_")
        for each in functions(module)
        if each.name.startswith("test_") and not ast.get_docstring(each)
    ] == []


def test_no_dead_module() -> None:
    """Every module is imported by another one of the product, or is an entry point."""
    used = set().union(*graph().values()) | ENTRY_POINTS
    assert [
        module.name
        for module in product()
        if module.path.name != "__init__.py"
        and not module.name.startswith(REVISIONS)
        and module.name not in used
    ] == []


def test_tests_outweigh_code() -> None:
    """Tests have at least the ratchet's lines for each line of the product."""
    tests = sum(m.lines for m in beside() if m.name.startswith("tests"))
    code = sum(m.lines for m in product())
    assert tests >= TEST_LINES_PER_CODE_LINE * code, f"{tests} lines of tests, {code} of code"


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
