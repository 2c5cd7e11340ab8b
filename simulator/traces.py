"""Readers of demand traces: a parquet file of hourly demand, or a CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from simulator.world.workloads.trace import Point, Trace

HOUR_S = 3600


class TraceError(Exception):
    """A trace cannot be read; the text says why, and the fix."""


def read(path: Path, start_s: int, days: int) -> Trace:
    """The trace in a file. Hours of a parquet file count from the world's start, and repeat."""
    if path.suffix == ".parquet":
        return _repeated(_parquet(path), start_s, days)
    return _csv(path)


def _parquet(path: Path) -> list[tuple[str, int, int]]:
    """Rows of (startup, hour, GPUs) from columns tenant, hour and demand_gpus."""
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise TraceError(f"{path}: parquet needs pyarrow: install cohortd[traces]") from error
    columns = ["tenant", "hour", "demand_gpus"]
    table = parquet.read_table(path, columns=columns)
    names, hours, gpus = (table.column(column).to_pylist() for column in columns)
    return list(zip(names, hours, gpus, strict=True))


def _repeated(rows: Sequence[tuple[str, int, int]], start_s: int, days: int) -> Trace:
    """The rows as points from the world's start, repeated until its end."""
    length = 1 + max((hour for _, hour, _ in rows), default=0)
    points = [
        Point(name, start_s + (hour + turn * length) * HOUR_S, max(0, gpus))
        for turn in range(-(-days * 24 // length))
        for name, hour, gpus in rows
        if hour + turn * length < days * 24
    ]
    return Trace(tuple(points))


def _csv(path: Path) -> Trace:
    """Columns startup, instant (UTC seconds or RFC 3339) and GPUs; a header line is optional."""
    points: list[Point] = []
    with path.open(newline="") as lines:
        for number, row in enumerate(csv.reader(lines), start=1):
            if not row or (number == 1 and row[0].strip().lower() == "startup"):
                continue
            try:
                startup, instant, gpus = (cell.strip() for cell in row)
                points.append(Point(startup, instant_s(instant), int(gpus)))
            except ValueError as error:
                wanted = "wants startup,instant,GPUs"
                raise TraceError(f"{path}, line {number}: {wanted}: {error}") from error
    return Trace(tuple(points))


def instant_s(text: str) -> int:
    """UTC seconds from digits or RFC 3339; without an offset the time is in UTC."""
    if text.isdecimal():
        return int(text)
    instant = datetime.fromisoformat(text)
    aware = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    return int(aware.timestamp())
