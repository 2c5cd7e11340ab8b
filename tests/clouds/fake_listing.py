"""A server that lists things page by page, some of them falsely, for the fuzzers."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import requests

from .scripted_http import Reply, query

PER_PAGE = 3
"""What the adapter's page sizes are set to, so that a handful of things takes pages."""
IN_HEADER = frozenset({"servers", "offers"})
"""Listings whose count is in X-Total-Count; the others' is in the body."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Corruption:
    """What is wrong with one answer, counted from 0."""

    at: int
    verb: str
    where: tuple[Any, ...] = ()
    value: Any = None


@dataclass(frozen=True)
class ListChange:
    """From one answer on, one thing is gone and another is there."""

    at: int
    gone: int
    new: Row


@dataclass
class FakeListing:
    """A list of `kind` in its order, lies about it, and what was said in the end."""

    kind: str
    rows: Sequence[Row]
    corruptions: Sequence[Corruption] = ()
    list_change: ListChange | None = None
    asked: int = 0
    said: list[Row] = field(default_factory=list)

    def __call__(self, request: requests.PreparedRequest) -> Reply:
        """Answer one request, and remember the rows in the answer."""
        number, self.asked = self.asked, self.asked + 1
        size = "per_page" if self.kind in IN_HEADER else "page_size"
        per_page, page = query(request, size), query(request, "page")
        for corruption in self.corruptions:
            if corruption.at == number and corruption.verb == "page":
                page = corruption.value
        rows = self.now(number)
        part = [copy.deepcopy(row) for row in rows[(page - 1) * per_page : page * per_page]]
        body, total = self._body(part, len(rows)), str(len(rows))
        status = 200
        for corruption in self.corruptions:
            if corruption.at == number:
                change(body, corruption)
                total = corruption.value if corruption.verb == "count" else total
                status = corruption.value if corruption.verb == "status" else status
        self.said += _rows_of(body, self.kind)
        headers = {"X-Total-Count": total} if self.kind in IN_HEADER and total is not None else {}
        content = json.dumps(body).encode()
        for corruption in self.corruptions:
            if corruption.at == number and corruption.verb == "cut":
                content = content[: int(len(content) * corruption.value)]
        return Reply(status, content, headers)

    def now(self, number: int) -> Sequence[Row]:
        """The list as it is at an answer."""
        if self.list_change is None or number < self.list_change.at:
            return self.rows
        gone = self.list_change.gone % max(1, len(self.rows))
        return [*(row for n, row in enumerate(self.rows) if n != gone), self.list_change.new]

    def _body(self, part: list[Row], total: int) -> Row:
        if self.kind == "offers":
            return {"servers": {row.pop("_name"): row for row in part}}
        return {self.kind: part, **({} if self.kind in IN_HEADER else {"total_count": total})}


def _rows_of(body: Any, kind: str) -> list[Row]:
    rows = body.get("servers" if kind == "offers" else kind) if isinstance(body, Mapping) else ()
    found = list(rows.values()) if isinstance(rows, Mapping) else rows
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def change(body: Any, corruption: Corruption) -> None:
    """Drop, rename, retype or double what lies at a place in the body, where it is there."""
    if corruption.verb not in {"drop", "rename", "retype", "double"} or not corruption.where:
        return
    holder = body
    *inside, last = (_step(body, corruption.where)) or [None]
    for key in inside:
        holder = holder[key]
    if last is None:
        return
    if corruption.verb == "drop":
        del holder[last]
    elif corruption.verb == "retype":
        holder[last] = corruption.value
    elif corruption.verb == "rename" and isinstance(holder, dict):
        holder[f"{last}_"] = holder.pop(last)
    elif corruption.verb == "double" and isinstance(holder, list):
        holder.insert(last, copy.deepcopy(holder[last]))


def _step(value: Any, where: Sequence[int]) -> list[Any]:
    """Numbers as a way into a body: each chooses among the keys that are there."""
    way: list[Any] = []
    for number in where:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            break
        way.append(keys[number % len(keys)])
        value = value[way[-1]]
        if not isinstance(value, (dict, list)):
            break
    return way
