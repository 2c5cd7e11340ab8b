"""The fallback snapshot: the last state of the book as one JSON text, for outages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from quotas.book.cycle.state import BookState
from quotas.model.program import Program
from quotas.model.tokens import Token

_TOKENS: TypeAdapter[dict[str, Token]] = TypeAdapter(dict[str, Token])


@dataclass(frozen=True, slots=True)
class Fallback:
    """The book's state at an instant, with the tokens that could read it."""

    at_s: int
    state: BookState
    tokens: Mapping[str, Token]


_STATE: dict[str, TypeAdapter[Any]] = {
    name: TypeAdapter(hint) for name, hint in get_type_hints(BookState).items() if name != "program"
}


def dump_fallback(state: BookState, tokens: Iterable[tuple[str, Token]]) -> str:
    """The state as text. A program must be in force."""
    assert state.program is not None
    body = {
        name: adapter.dump_python(getattr(state, name), mode="json")
        for name, adapter in _STATE.items()
    }
    body["program"] = state.program.to_json()
    body["tokens"] = _TOKENS.dump_python(dict(tokens), mode="json")
    return json.dumps(body, separators=(",", ":"))


def load_fallback(at_s: int, text: str) -> Fallback | None:
    """The stored fallback; None if another version of cohortd wrote it."""
    body = json.loads(text)
    try:
        values = {name: adapter.validate_python(body[name]) for name, adapter in _STATE.items()}
        tokens = _TOKENS.validate_python(body["tokens"])
        program = Program.from_json(body["program"])
    except (KeyError, TypeError, ValidationError):
        return None
    return Fallback(at_s, BookState(program=program, **values), tokens)
