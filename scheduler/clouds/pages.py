"""Reads listings page by page, and checks that the list did not change in between."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from quotas.model.observation import Cause
from scheduler.clouds.base import CloudError

Item = TypeVar("Item")


class Inconsistent(CloudError):
    """Answers that are well-formed, but contradict each other."""

    cause = Cause.INCONSISTENT


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page of a listing: its items with their names, and how many there are in all."""

    items: tuple[tuple[str, Item], ...]
    total: int


def collect(
    fetch: Callable[[int], Page[Item]], per_page: int, limit: int, into: dict[str, Item]
) -> None:
    """Read every page into `into`, which keeps the items read so far if this raises CloudError.

    Returns only if no name repeats and every page's total equals the number of items.
    """
    total: int | None = None
    for number in range(1, limit + 1):
        page = fetch(number)
        if total not in (None, page.total):
            raise Inconsistent(f"the count went from {total} to {page.total} between pages")
        total = page.total
        for name, item in page.items:
            if name in into:
                raise Inconsistent(f"{name} is listed twice")
            into[name] = item
        if len(page.items) < per_page or len(into) >= total:
            break
    if len(into) != total:
        raise Inconsistent(f"{len(into)} read, {total} announced, in at most {limit} pages")


def check_edges(
    fetch: Callable[[int, int], Page[Item]], per_page: int, read: Mapping[str, Item]
) -> None:
    """Read the last item of each page again, by page and size. Raises CloudError if it moved.

    If one item is deleted and another one created between two pages, the count stays the same,
    and an item moves over the page's edge unseen.
    """
    names = tuple(read)
    for position in range(per_page, len(names), per_page):
        edge = fetch(position, 1)
        if [name for name, _ in edge.items] != [names[position - 1]]:
            raise Inconsistent("the list moved between its pages")
