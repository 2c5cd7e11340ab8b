"""Runs every benchmark, one table after the other."""

from __future__ import annotations

from bench import api, book, cycle, demo, metrics, publish, shares, verify


def main() -> None:
    """Print every table."""
    for module in (cycle, book, verify, publish, shares, api, metrics, demo):
        print(f"\n{module.__doc__ or ''}".splitlines()[1])
        module.main()


if __name__ == "__main__":
    main()
