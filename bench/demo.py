"""Benchmark of the demo: the wall time of six months, and the simulated region's part of it."""

from __future__ import annotations

import json
import subprocess
import sys
from time import perf_counter

DAYS = (30, 183)


def main() -> None:
    """Print the table: the ratio is to the shorter demo, day for day."""
    print(f"{'days':>8} {'cycles':>8} {'seconds':>9} {'ms/cycle':>9} {'ratio':>7}")
    base = None
    for days in DAYS:
        began = perf_counter()
        command = [sys.executable, "-c", "from scheduler.cli import main; main()", "demo"]
        done = subprocess.run(
            [*command, "--json", "--days", str(days)], capture_output=True, text=True, check=True
        )
        seconds = perf_counter() - began
        cycles = json.loads(done.stdout)["cycles"]
        each = seconds / cycles
        base = base or each
        print(f"{days:>8} {cycles:>8} {seconds:>9.1f} {each * 1e3:>9.1f} {each / base:>7.2f}")


if __name__ == "__main__":
    main()
