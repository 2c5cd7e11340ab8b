"""`make fuzz` plays the claims that its help names."""

from __future__ import annotations

import random

from .fuzz import claims, one_input


def test_each_claim_is_played_by_its_first_byte() -> None:
    """Some random inputs reach every claim, and every claim holds."""
    heard: list[str] = []
    known = claims()
    assert {"test_sweep_of_mutated_listing", "test_a_complete_sweep_is_a_whole_one"} <= set(known)

    def noted(name: str) -> None:
        heard.append(name)

    one_input({name: lambda _, name=name: noted(name) for name in known})(b"")
    play = one_input({name: lambda data, name=name: noted(name) for name in known})
    for first in range(len(known)):
        play(bytes([first]) + b"the example")
    assert heard == sorted(known)
    chance = random.Random(1)
    fuzz = one_input(known)
    for first in range(len(known)):
        fuzz(bytes([first]) + chance.randbytes(2_000))
