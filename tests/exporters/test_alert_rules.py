"""Alerts fire when they should and only then; each leads to a runbook; few wake anybody."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from .dashboard_files import DEPLOY, RULES, alerts
from .prometheus_server import program

CASES = DEPLOY / "prometheus/tests/cohortd.yml"
MONTH = DEPLOY / "prometheus/tests/healthy-month.yml"
RUNBOOKS = Path(__file__).parents[2] / "docs/runbooks"
PARTS = ("**What it means.**", "**What is at stake.**", "## Look here", "## Do this")


def test_prometheus_takes_the_rules() -> None:
    """promtool finds nothing wrong with the rules."""
    done = subprocess.run([program("promtool"), "check", "rules", RULES], capture_output=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", [CASES, MONTH], ids=lambda path: path.stem)
def test_alerts_fire_and_stay_silent_when_they_should(path: Path) -> None:
    """promtool runs the cases: a firing and a silent one each, and a healthy month."""
    done = subprocess.run(
        [program("promtool"), "test", "rules", path], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_both_cases() -> None:
    """An alert without a firing and a silent case is not tested; the month covers all pages."""
    names = [test["name"] for test in yaml.safe_load(CASES.read_text())["tests"]]
    for alert in alerts():
        assert f"{alert['alert']} fires" in names
        assert f"{alert['alert']} stays silent" in names
    (month,) = yaml.safe_load(MONTH.read_text())["tests"]
    covered = {each["alertname"] for each in month["alert_rule_test"]}
    assert covered == {a["alert"] for a in alerts() if a["labels"]["severity"] == "page"}


def test_at_most_five_alerts_page() -> None:
    """Who is woken for everything wakes up for nothing."""
    severities = [alert["labels"]["severity"] for alert in alerts()]
    assert severities.count("page") <= 5
    assert set(severities) == {"page", "ticket", "info"}


def test_every_alert_waits_and_leads_somewhere() -> None:
    """A `for`, a sentence, a description, and a runbook of four parts; no runbook without alert."""
    for alert in alerts():
        assert alert["for"] and alert["annotations"]["summary"].endswith(".")
        assert alert["annotations"]["description"].endswith(".")
        runbook = RUNBOOKS / f"{alert['alert']}.md"
        assert alert["annotations"]["runbook_url"] == f"docs/runbooks/{runbook.name}"
        text = runbook.read_text()
        assert [part for part in PARTS if part not in text] == []
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == {a["alert"] for a in alerts()}


def test_alertmanager_takes_its_configuration() -> None:
    """amtool finds nothing wrong, and a page goes to the receiver of pages."""
    path = DEPLOY / "alertmanager/alertmanager.yml"
    amtool = program("amtool")
    done = subprocess.run([amtool, "check-config", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for severity in ("page", "ticket", "info"):
        asked = [
            amtool,
            "config",
            "routes",
            "test",
            f"--config.file={path}",
            f"severity={severity}",
        ]
        routed = subprocess.run(asked, capture_output=True, text=True)
        assert routed.stdout.strip() == severity
