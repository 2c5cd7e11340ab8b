"""The division of scarce GPUs: exact, deterministic, and explained.

`solve` takes a `Problem` and gives typed answers. `allocate` is the same for `cohortd allocate`,
with JSON in and out.

Theory of operation
-------------------
The model. Startups are the leaves of trees; inner nodes are groups. Each pool is divided on its
own, in three steps:

1. `divide.claim` walks up. Per node it finds `base` (what its own nominal quota gives it), `most`
   (what it can use within demand and limits) and `offer` (unused quota that it may lend).
2. `divide.share_out` walks down. Each group's total is divided among its members by weighted
   max-min: first the bases, then what is borrowed, one priority after the other. The results
   are ratios of integers, and the members of a group have one denominator.
3. `whole.round_shares` turns ratios into whole GPUs. Each share is rounded down to the node's
   step, then the remaining GPUs go one step at a time to the node that lacks most.

`lent` then traces who lends to whom. `ceiling` divides again with one unlimited demand. If there
are many startups, it states a lower bound instead. `explain` names the bound of each share.

The invariants. Shares sum to at most the capacity. No share exceeds demand, a limit, or nominal
plus borrowing limit. Borrowed GPUs equal lent GPUs. The order of the input never matters: ties go
by `banked`, `served_s`, then name. Two divisions of one problem are equal to the last digit,
because `explain` and `verify` compute past shares again.

Rejected: floats (two machines could round a tie differently, and a borrower would lose a server),
a linear program (172 s for 100,000 startups; the tests compare with one), rounding at each level
on the way down (the errors add up to several GPUs; one rounding at the end keeps every node within
one step of exact), and lending in rounds until nothing changes (the result depends on the rounds).

The warning. Arrays are int64 where every product fits, and Python integers otherwise
(`forest.as_ints`). An operation that multiplies must check its range first (`SAFE`), because numpy
overflows silently. A new tie-break changes who is reclaimed, so it needs a rule in docs/shares.md.
"""

from quotas.shares.engine.answer import Answer, Solution, allocate, solve
from quotas.shares.engine.problem import Node, Problem, ProblemError, read_problem

__all__ = [
    "Answer",
    "Node",
    "Problem",
    "ProblemError",
    "Solution",
    "allocate",
    "read_problem",
    "solve",
]
