"""Calls and imports: no cycle, one clock, two broad excepts, no float in amounts, no dead file."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter

import pytest

from scheduler.cli.command_index import PANELS

from .source import (
    REVISIONS,
    calls,
    graph,
    product,
    uses,
)

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
FLOATLESS_BUT = {
    "quotas.book.session": "'/' joins paths",
    "quotas.shares.engine.lent": "'/' divides Fractions, exactly",
    "quotas.shares.engine.fill": "floats choose how wide the integers are; none becomes an amount",
}
LOOP, WORKER = "scheduler.loop", "scheduler.jobs.worker"
ENTRY_POINTS = {
    "scheduler.cli",
    "exporters.ctl.cli",
    "exporters.dashboards.__main__",
    "simulator.__main__",
    "quotas.migrations.env",
}


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


def test_a_broad_except_in_the_loop_and_in_a_worker_s() -> None:
    """Two handlers catch everything, as the outer retry of a thread: the loop's and a worker's."""
    found = [
        (module.name, module.where(node))
        for module in product()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ExceptHandler) and broad(node)
    ]
    assert sorted(name for name, _ in found) == [WORKER, LOOP], found


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


def test_no_dead_module() -> None:
    """Every module is imported by another one, is in the index of commands, or an entry point."""
    used = set().union(*graph().values(), *PANELS.values()) | ENTRY_POINTS
    assert [
        module.name
        for module in product()
        if module.path.name != "__init__.py"
        and not module.name.startswith(REVISIONS)
        and module.name not in used
    ] == []
