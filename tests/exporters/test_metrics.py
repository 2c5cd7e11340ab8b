"""What Prometheus reads agrees with the book at that instant, and is well formed."""

from __future__ import annotations

import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from exporters.metrics import BALANCES, Metrics, MetricsServer
from quotas.book.cycle.outbox import OutboxBacklog
from quotas.iam.closing import ClosingView
from quotas.model.observation import Cause, Unknown
from quotas.model.units import HOUR_S, UCR_PER_CREDIT
from quotas.rules.context import Level
from quotas.state.snapshot import Decision
from quotas.view import View
from tests.builders import a_notice
from tests.scheduler.harness import T0, ZONE, Harness, program, server

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
ACME = {"startup": "acme", "cohort": "c"}


def samples(metrics: Metrics) -> Samples:
    """Every sample of a scrape, by name and labels."""
    return {
        (each.name, tuple(sorted(each.labels.items()))): each.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for each in family.samples
    }


def with_status(view: View, **changes: Any) -> View:
    """The view with changes of its status."""
    return replace(view, status=replace(view.status, **changes))


def value(of: Samples, name: str, **labels: str) -> float:
    """One sample; it must be there."""
    return of[f"cohortd_{name}", tuple(sorted(labels.items()))]


@pytest.fixture
def published() -> tuple[Harness, Metrics]:
    """A rig whose one server was charged and has a notice, and the metrics of its last view."""
    harness, metrics = Harness(program(limit=4, notice_s=4 * HOUR_S)), Metrics()

    def publish(view: View) -> None:
        harness.views.append(view)
        metrics.publish(view)

    harness.cycle.publish = publish
    harness.cloud.add(server())
    harness.run()
    harness.cloud.answers["pl-waw-2"] = lambda _: Unknown("pl-waw-2", T0, Cause.FAULT, "test")
    harness.run(HOUR_S)
    harness.run(600)
    metrics.cycle("done", 0.25, T0 + HOUR_S + 600)
    metrics.render()  # a scrape, in which each series is at 0
    return harness, metrics


def test_each_view_is_rendered_once_and_counters_each_time(
    published: tuple[Harness, Metrics],
) -> None:
    """A scrape shows the last view, never the text of the one before, beside counts as of now."""
    harness, metrics = published
    before, view = metrics.render(), harness.views[-1]
    assert metrics.render() == before, "nothing changed between two scrapes"
    metrics.missed()
    assert value(samples(metrics), "cycles_missed_total") == 1, "a count is never from memory"
    own = view.status.startups[0]
    metrics.publish(
        with_status(view, startups=(replace(own, charged_ucr=own.charged_ucr + 10**6),))
    )
    was = own.charged_ucr / UCR_PER_CREDIT
    assert value(samples(metrics), "charged_credits", **ACME) == was + 1
    shown = {family.name for family in metrics.collect()}
    rendered = {line.split()[2] for line in before.decode().splitlines() if line[:6] == "# TYPE"}
    assert {name.removesuffix("_total") for name in rendered} == shown


def test_the_first_of_several_open_notices_is_shown(published: tuple[Harness, Metrics]) -> None:
    """The earliest deadline of a startup, whatever the order of its notices; others' apart."""
    harness, metrics = published
    view = harness.views[-1]
    deadlines_s = {"acme": (T0 + 900, T0 + 300, T0 + 600), "birch": (T0 + 100,)}
    notices = tuple(
        a_notice(f"s{at_s}", startup=name, deadline_s=at_s)
        for name, instants in deadlines_s.items()
        for at_s in instants
    )
    metrics.publish(with_status(view, notices=notices))
    found = samples(metrics)
    assert value(found, "next_stop_timestamp_seconds", **ACME) == T0 + 300
    assert value(found, "next_stop_timestamp_seconds", startup="birch", cohort="") == T0 + 100


def test_metrics_agree_with_the_view(published: tuple[Harness, Metrics]) -> None:
    """Every balance of every startup, to the last digit that a float shows (I22)."""
    harness, metrics = published
    found, view = samples(metrics), harness.views[-1]
    own = view.status.startups[0]
    amounts = {
        "posted": own.balance.posted_ucr,
        "accrued": own.balance.accrued_ucr,
        "held": own.balance.held_ucr,
        "reserve": own.balance.reserve_ucr,
        "available": own.balance.available_ucr,
        "unconfirmed": own.unconfirmed_ucr,
    }
    assert set(amounts) == set(BALANCES)
    for state, amount_ucr in amounts.items():
        assert value(found, "balance_credits", **ACME, state=state) == amount_ucr / UCR_PER_CREDIT
    assert value(found, "charged_credits", **ACME) == own.charged_ucr / UCR_PER_CREDIT
    assert value(found, "granted_credits", **ACME) == own.balance.granted_ucr / UCR_PER_CREDIT
    assert value(found, "burn_credits_per_hour", **ACME) == 25.3308
    assert value(found, "exhaustion_timestamp_seconds", **ACME) == own.balance.exhausted_s
    gpus = {"pool": "h100", "flavor": f"H100-SXM-8-80G@{ZONE}"}
    assert value(found, "usage_gpus", **ACME, **gpus) == 8
    assert value(found, "pool_gpus", pool="h100") == 40


def test_metrics_agree_with_the_ledger(published: tuple[Harness, Metrics]) -> None:
    """Charged is the usage account, posted is the grant's account, at the scrape (I22)."""
    harness, metrics = published
    found, ledger = samples(metrics), harness.rows("balance")
    charged = value(found, "charged_credits", **ACME) * UCR_PER_CREDIT
    posted = value(found, "balance_credits", **ACME, state="posted") * UCR_PER_CREDIT
    assert round(charged) == ledger["usage:acme"] == 25_330_800
    assert round(posted) == ledger["grant:acme:g1"]
    accrued = value(found, "balance_credits", **ACME, state="accrued") * UCR_PER_CREDIT
    assert round(accrued) == 25_330_800 * 600 // HOUR_S


def test_states_are_one_hot_and_zones_say_what_they_are(published: tuple[Harness, Metrics]) -> None:
    """One level is 1; a zone that did not answer is 0 and keeps its last known instant."""
    harness, metrics = published
    found = samples(metrics)
    levels = {name: value(found, "level", **ACME, level=name) for name in Level}
    assert levels == {"open": 0, "paced": 1, "closed": 0, "stopped": 0}
    assert value(found, "zone_complete", cloud_zone=ZONE) == 1
    assert value(found, "zone_complete", cloud_zone="pl-waw-2") == 0
    known = "zone_confirmed_timestamp_seconds"
    assert value(found, known, cloud_zone=ZONE) == T0 + HOUR_S + 600
    assert value(found, known, cloud_zone="pl-waw-2") == T0
    assert value(found, "notices_open") == 1
    assert value(found, "lease_epoch") == harness.views[-1].epoch


def test_counters_count_what_happened(published: tuple[Harness, Metrics]) -> None:
    """Cycles by outcome, decisions by verb, requests and their failures by reason."""
    harness, metrics = published
    metrics.cycle("failed", 0.5, T0)
    metrics.request("sweep", "ok", 0.1)
    metrics.request("sweep", "key_refused", 0.1)
    metrics.missed()
    metrics.render()
    found = samples(metrics)
    assert value(found, "cycles_total", outcome="done") == 1
    assert value(found, "cycles_total", outcome="failed") == 1
    assert value(found, "last_successful_cycle_timestamp_seconds") == T0 + HOUR_S + 600
    assert value(found, "leader") == 0
    assert value(found, "cloud_requests_total", operation="sweep") == 2
    failed = value(found, "cloud_request_failures_total", operation="sweep", reason="key_refused")
    assert failed == 1
    assert value(found, "cycles_missed_total") == 1
    decided = sum(len(view.decisions) for view in harness.views)
    total = sum(v for (name, _), v in found.items() if name == "cohortd_decisions_total")
    assert total == decided >= 1


def test_what_the_sponsor_paid_is_shown_by_cohort(published: tuple[Harness, Metrics]) -> None:
    """A cohort has what ran uncovered; one without any says zero."""
    harness, metrics = published
    assert value(samples(metrics), "overdraft_credits", cohort="c") == 0
    metrics.publish(with_status(harness.views[-1], overdraft={"c": 1_500_000}))
    assert value(samples(metrics), "overdraft_credits", cohort="c") == 1.5


def test_only_what_stands_by_counts_as_standing_by(published: tuple[Harness, Metrics]) -> None:
    """A running server is no leak; the same one stopped in place is, GPU for GPU."""
    harness, metrics = published
    assert value(samples(metrics), "standby_gpus", **ACME) == 0
    (own,) = harness.views[-1].status.startups
    standing = replace(own, runs=tuple(replace(r, state="stopped in place") for r in own.runs))
    metrics.publish(with_status(harness.views[-1], startups=(standing,)))
    assert value(samples(metrics), "standby_gpus", **ACME) == 8


def test_names_and_labels_follow_the_conventions(published: tuple[Harness, Metrics]) -> None:
    """One prefix, base units, help on all, and no label that grows with servers."""
    _, metrics = published
    allowed = {"startup", "cohort", "pool", "flavor"}
    own = {"state", "level", "cloud_zone", "outcome", "operation", "reason", "rule", "verb"}
    own |= {"mode", "le", "version", "window", "bound"}
    for family in text_string_to_metric_families(metrics.render().decode()):
        assert family.name.startswith("cohortd_") and family.documentation
        assert not family.name.endswith(("_ms", "_minutes", "_ucr"))
        for sample in family.samples:
            assert set(sample.labels) <= allowed | own


def test_what_counts_from_the_first_is_at_0_before() -> None:
    """Outcomes from the start, startups from their first view on: what rises can be seen to."""
    metrics = Metrics()
    found = samples(metrics)
    assert [value(found, "deliveries_total", outcome=o) for o in ("sent", "failed")] == [0, 0]
    assert value(found, "intents_ended_total", outcome="failed") == 0
    metrics.delivery("failed")
    assert value(samples(metrics), "deliveries_total", outcome="failed") == 1
    harness = Harness()
    harness.cycle.publish = metrics.publish
    harness.run()
    assert value(samples(metrics), "notices_breached_total", startup="acme") == 0


def test_a_promise_broken_in_the_first_view_is_a_rise() -> None:
    """A daemon was down at the deadline: 0 in one scrape, 1 in the next and ever after."""
    harness, metrics = Harness(), Metrics()
    harness.run()
    broken = Decision("acme", "s1", "limit", "breach", "test", {})
    metrics.publish(replace(harness.views[-1], decisions=(broken,)))
    labels = {"startup": "acme", "rule": "limit", "verb": "breach", "mode": "enforce"}
    scrapes = [samples(metrics) for _ in range(3)]
    assert [value(s, "notices_breached_total", startup="acme") for s in scrapes] == [0, 1, 1]
    assert [value(s, "decisions_total", **labels) for s in scrapes] == [0, 1, 1]
    metrics.publish(replace(harness.views[-1], decisions=(broken,)))
    assert value(samples(metrics), "notices_breached_total", startup="acme") == 2


WAITING = ("pending", "pending_age_seconds", "failed")


def test_who_stands_by_shows_no_figure_of_the_program(published: tuple[Harness, Metrics]) -> None:
    """They are the new leader's to show: summed, each would count twice. Its own counts stay."""
    harness, metrics = published
    metrics.outbox(OutboxBacklog(3, T0, 1), T0 + 60)
    before = {name for name, _ in samples(metrics)}
    metrics.cycle("follower", 0.1, T0 + HOUR_S + 630)
    found = samples(metrics)
    assert [value(found, f"deliveries_{name}") for name in WAITING] == [0, 0, 0]
    lost = {name.removeprefix("cohortd_") for name in before - {name for name, _ in found}}
    assert {"usage_gpus", "zone_complete", "stops_deferred", "balance_credits"} <= lost
    assert not any(name.endswith("_total") for name in lost)
    assert value(found, "leader") == 0 and metrics.is_ready
    assert value(found, "last_successful_cycle_timestamp_seconds") == T0 + HOUR_S + 600
    metrics.publish(harness.views[-1])
    metrics.cycle("done", 0.1, T0 + HOUR_S + 660)
    assert before <= {name for name, _ in samples(metrics)}


def test_who_fails_longer_than_a_lease_shows_none_either(
    published: tuple[Harness, Metrics],
) -> None:
    """It cannot reach the book, and another may lead by now; a single failure changes nothing."""
    _, metrics = published
    for after_s, is_shown in ((30, True), (180, True), (210, False)):
        metrics.cycle("failed", 0.1, T0 + HOUR_S + 600 + after_s)
        names = {name for name, _ in samples(metrics)}
        assert ("cohortd_usage_gpus" in names) is is_shown


def test_a_cycle_that_asked_for_no_lease_says_nothing_of_it() -> None:
    """After a jump of the clock a leader still leads, and a follower does not begin to lead."""
    metrics = Metrics()
    for outcome, leads in (("follower", 0), ("observed", 0), ("done", 1), ("observed", 1)):
        metrics.cycle(outcome, 0.1, T0)
        assert value(samples(metrics), "leader") == leads


def test_before_the_first_view_nothing_is_claimed() -> None:
    """No view, no business figure: absence is not zero."""
    names = {name for name, _ in samples(Metrics())}
    assert not any("credits" in name or "gpus" in name for name in names)


@pytest.fixture
def served() -> Iterator[tuple[Metrics, str]]:
    """A server of metrics on a free port, and its URL."""
    metrics = Metrics()
    http = MetricsServer(metrics, "127.0.0.1", 0)
    http.start()
    yield metrics, f"http://{http.address}"
    http.close()


def status(url: str, **headers: str) -> int:
    """The HTTP status of a GET."""
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.parametrize(
    ("host", "is_known"),
    [
        ("127.0.0.1:9464", True),
        ("10.1.2.3", True),
        ("[::1]:9464", True),
        ("LocalHost:1", True),
        (f"{socket.gethostname()}.:9464", True),
        ("evil.example:9464", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("[::1", False),
        ("", False),
    ],
)
def test_an_unknown_host_reads_nothing(
    served: tuple[Metrics, str], host: str, is_known: bool
) -> None:
    """A name that another site points at this server is refused, on every path."""
    for path in ("/metrics", "/healthz"):
        assert status(f"{served[1]}{path}", Host=host) == (200 if is_known else 421)


def test_ready_only_after_a_view(served: tuple[Metrics, str]) -> None:
    """/healthz answers at once, /readyz once a cycle has published; others are 404."""
    metrics, url = served
    assert (status(f"{url}/healthz"), status(f"{url}/readyz")) == (200, 503)
    assert status(f"{url}/") == 404
    harness = Harness()
    harness.cycle.publish = metrics.publish
    harness.run()
    assert status(f"{url}/readyz") == 200
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert b"cohortd_balance_credits" in answer.read()


def test_promtool_finds_nothing_to_say(published: tuple[Harness, Metrics]) -> None:
    """`promtool check metrics` accepts the text without a remark."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("service: promtool is absent")
    _, metrics = published
    metrics.request("sweep", "ok", 0.1)
    check = [promtool, "check", "metrics"]
    done = subprocess.run(check, input=metrics.render(), capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_a_closing_that_fails_is_counted_by_startup(published: tuple[Harness, Metrics]) -> None:
    """Failures in a row and revoked rules, for each startup that was closed at least once."""
    harness, metrics = published
    stuck = ClosingView("acme", "closing", T0, "403", 3, True)
    metrics.publish(with_status(harness.views[-1], closings=(stuck,)))
    found = samples(metrics)
    assert value(found, "iam_change_failures", **ACME) == 3
    assert value(found, "iam_rules_revoked", **ACME) == 1
