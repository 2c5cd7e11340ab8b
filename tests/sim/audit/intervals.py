"""Sums, differences and overlaps of half-open intervals of time."""

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
    one, two = union(left), union(right)
    found: list[Interval] = []
    i = j = 0
    while i < len(one) and j < len(two):
        start_s, end_s = max(one[i][0], two[j][0]), min(one[i][1], two[j][1])
        if start_s < end_s:
            found.append((start_s, end_s))
        if one[i][1] < two[j][1]:
            i += 1
        else:
            j += 1
    return found


def seconds(of: Iterable[Interval]) -> int:
    """The total length in seconds."""
    return sum(end_s - start_s for start_s, end_s in union(of))
