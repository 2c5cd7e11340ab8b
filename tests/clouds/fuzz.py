"""Fuzzes the cloud adapter for as long as you like, guided by coverage: `make fuzz`.

The claims are those of test_fuzz.py and test_fuzz_listings.py; atheris finds the bytes that
Hypothesis makes their examples from, and goes where a branch of the adapter is new. The first
byte chooses the claim. A crash is a claim that is false: its input is kept in a file, and
`make fuzz ARGS=FILE` plays it again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import ModuleType

Claim = Callable[[bytes], object]
RUNS = 100_000
SEED = 1


def claims() -> dict[str, Claim]:
    """Every property of the adapter that needs nothing but an example, by name."""
    from . import test_fuzz, test_fuzz_listings

    found: dict[str, Claim] = {}
    for module in (test_fuzz, test_fuzz_listings):
        found |= _claims_of(module)
    return found


def _claims_of(module: ModuleType) -> Mapping[str, Claim]:
    """The module's properties; one that pytest parametrises takes more than an example."""
    tests = {name: value for name, value in vars(module).items() if hasattr(value, "hypothesis")}
    plain = {name: test for name, test in tests.items() if not hasattr(test, "pytestmark")}
    return {name: test.hypothesis.fuzz_one_input for name, test in plain.items()}


def one_input(known: Mapping[str, Claim]) -> Callable[[bytes], None]:
    """What atheris calls: the first byte says which claim, the rest is its example."""
    in_order = [known[name] for name in sorted(known)]

    def play(data: bytes) -> None:
        if data:
            in_order[data[0] % len(in_order)](data[1:])

    return play


def main() -> None:
    """Fuzz; exits as libFuzzer does."""
    import atheris

    options = sys.argv[1:] or [f"-runs={RUNS}", f"-seed={SEED}"]
    with atheris.instrument_imports(include=["scheduler.clouds", "quotas.model.observation"]):
        known = claims()
    atheris.Setup([sys.argv[0], *options], one_input(known))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
