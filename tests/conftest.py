"""Fixtures for every test: Hypothesis profiles, the shared folder, and honest skips.

A test that needs something of the machine (a program, a folder) skips with a reason that
begins with "service:". If COHORTD_REQUIRE_SERVICES or CI is set, this skip is a failure, so
that a CI without the service cannot pass by not looking.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

REPO = Path(__file__).resolve().parent.parent
REQUIRES_SERVICES = bool(os.environ.get("COHORTD_REQUIRE_SERVICES") or os.environ.get("CI"))
SERVICE = "service:"

# Deadlines are off: a wall-clock limit per example fails on a busy machine and proves nothing.
settings.register_profile("dev", deadline=None)
settings.register_profile(
    "ci",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


def fail_service_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip for want of a service into a failure, where services are required."""
    if not (REQUIRES_SERVICES and report.skipped and isinstance(report.longrepr, tuple)):
        return
    reason = report.longrepr[2].removeprefix("Skipped: ")
    if reason.startswith(SERVICE):
        report.outcome = "failed"
        report.longrepr = f"{reason} (required here: COHORTD_REQUIRE_SERVICES or CI is set)"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    fail_service_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    fail_service_skip(report)
    return report


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of recordings and traces that lies beside the checkout."""
    path = Path(os.environ.get("COHORTD_SHARED") or REPO.parent / "shared")
    if not path.is_dir():
        pytest.skip(f"{SERVICE} ../shared is absent")
    return path


@pytest.fixture(scope="module")
def deterministic() -> Iterator[None]:
    """What a module of plays asks for: cycles without threads, and without their log."""
    from tests.sim.play.wiring import wired
    from tests.sim.soak.run import (
        quiet,  # only if plays run, because it imports the whole product
    )

    before = structlog.get_config()
    quiet()
    with wired():
        yield
    structlog.configure(**before)
