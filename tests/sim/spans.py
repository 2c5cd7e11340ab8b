"""What is the sum, the difference, the overlap of stretches of time? Half-open intervals."""

from __future__ import annotations

from collections.abc import Iterable

Interval = tuple[int, int]


def union(of: Iterable[Interval]) -> list[Interval]:
    """The same seconds as disjoint intervals, in order."""
    merged: list[Interval] = []
    for start_s, end_s in sorted(i for i in of if i[0] < i[1]):
        if merged and start_s <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end_s, merged[-1][1]))
        else:
            merged.append((start_s, end_s))
    return merged


def minus(left: Iterable[Interval], right: Iterable[Interval]) -> list[Interval]:
    """Seconds of the left that are not in the right."""
    cuts = union(right)
    found: list[Interval] = []
    for start_s, end_s in union(left):
        for cut_s, until_s in cuts:
            if until_s <= start_s:
                continue
            if cut_s >= end_s:
                break
            if start_s < cut_s:
                found.append((start_s, cut_s))
            start_s = max(start_s, until_s)
        if start_s < end_s:
            found.append((start_s, end_s))
    return found


def both(left: Iterable[Interval], right: Iterable[Interval]) -> list[Interval]:
    """Seconds that are in both."""
    left = union(left)
    return minus(left, minus(left, right))


def seconds(of: Iterable[Interval]) -> int:
    """How long together."""
    return sum(end_s - start_s for start_s, end_s in union(of))
