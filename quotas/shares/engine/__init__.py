"""What is each startup's share of scarce GPUs? An exact, explained, deterministic division.

`allocate` takes and gives JSON; `read_problem`, `lay_out` and `divide_pool` are its parts.
"""

from quotas.shares.engine.answer import allocate
from quotas.shares.engine.problem import Node, Problem, ProblemError, read_problem

__all__ = ["Node", "Problem", "ProblemError", "allocate", "read_problem"]
