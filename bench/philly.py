"""Shares on a real trace: Philly's 15 virtual clusters, hour by hour.

Demand by hour is Microsoft's Philly trace (CC-BY-4.0), read from beside the repository. Run
`python -m bench.philly`. Quota is split equally, or in proportion to each one's mean demand;
demand that is not met in its hour is lost, so the figures compare policies, not schedulers.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from quotas.shares.engine.divide import divide
from quotas.shares.engine.forest import Amounts, build_forest
from quotas.shares.engine.whole import round_shares

DEFAULT_SHARED = Path(__file__).resolve().parents[2] / "shared"
TRACE = (
    Path(os.environ.get("COHORTD_SHARED", DEFAULT_SHARED))
    / "traces/philly_vc_demand_hourly.parquet"
)

Grid = np.ndarray[Any, Any]


def read_demand() -> Grid:
    """GPUs demanded, with a row for each hour and a column for each virtual cluster."""
    table = pq.read_table(TRACE).to_pydict()
    tenants = sorted(set(table["tenant"]))
    column = {name: at for at, name in enumerate(tenants)}
    demand = np.zeros((max(table["hour"]) + 1, len(tenants)), np.int64)
    for name, hour, gpus in zip(table["tenant"], table["hour"], table["demand_gpus"], strict=True):
        demand[hour, column[name]] = gpus
    return demand


def quotas(weights: Grid, gpus: int) -> Grid:
    """Whole nominal quotas in proportion to weights, by largest remainder."""
    exact = weights * gpus
    parts = exact // weights.sum()
    order = np.argsort(-(exact % weights.sum()), kind="stable")
    parts[order[: gpus - parts.sum()]] += 1
    return parts


def lend(demand: Grid, nominal: Grid, gpus: int) -> Grid:
    """cohortd's shares, hour by hour. Weights equal the quota, so idle quota is lent by quota."""
    size = len(nominal)
    weights = np.maximum(nominal, 1).tolist()
    forest, _ = build_forest([-1] * size, weights, [0] * size, list(range(size)))
    none, ones = np.zeros(len(nominal), np.int64), np.ones(len(nominal), np.int64)
    shares = np.zeros_like(demand)
    for hour, asked in enumerate(demand):
        beyond = np.full(len(nominal), gpus + int(asked.sum()) + int(nominal.sum()))
        pool = Amounts(gpus, nominal, beyond, beyond, beyond, asked, ones, none, none)
        shares[hour] = round_shares(forest, pool, divide(forest, pool))
    return shares


def row(name: str, demand: Grid, shares: Grid, nominal: Grid, gpus: int) -> str:
    """Utilisation, unmet GPU-hours, least welfare, Jain's index, GPUs reclaimed an hour."""
    usable = np.minimum(demand.sum(axis=1), gpus).sum()
    unmet = (demand - shares).sum()
    welfare = shares.sum(axis=0) / np.maximum(demand.sum(axis=0), 1)
    welfare = welfare[demand.sum(axis=0) > 0]
    jain = welfare.sum() ** 2 / (len(welfare) * (welfare**2).sum())
    forced = np.maximum(np.minimum(shares[:-1], demand[1:]) - shares[1:], 0).sum() / len(shares)
    return (
        f"{gpus:6,} {name:29} {shares.sum() / usable:7.4f} {unmet:10,} {welfare.min():8.3f} "
        f"{jain:6.3f} {forced:9.2f}"
    )


def main() -> None:
    """Print the table."""
    demand = read_demand()
    print("  pool policy                        used      unmet  min.welf   Jain  forced/h")
    for gpus in (512, 1016):
        for name, weights in (
            ("equal quota", np.ones(demand.shape[1], np.int64)),
            ("quota by mean demand", demand.sum(axis=0)),
        ):
            nominal = quotas(weights, gpus)
            static = np.minimum(demand, nominal)
            print(row(f"static, {name}", demand, static, nominal, gpus))
            print(row(f"ours, {name}", demand, lend(demand, nominal, gpus), nominal, gpus))


if __name__ == "__main__":
    main()
