"""The error by which `decide` refuses its own result."""

from __future__ import annotations


class InvariantBroken(Exception):
    """A decision would break a promise: a sentence that names it. Nothing of it may be written."""
