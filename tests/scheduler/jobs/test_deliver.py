"""Deliveries: every message arrives at least once, with one key, without a storm."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from exporters.metrics import Metrics
from exporters.notify.deliver import Deliverer
from exporters.notify.settings import Settings
from quotas.book import Book
from quotas.book.cycle.outbox import MAX_ATTEMPTS, retry_delay_s
from quotas.book.verify.verify import verify
from quotas.ledger.chain_heads import hashes_in
from quotas.messages.routing import Delivery, DeliveryResult
from quotas.model.program import Program
from scheduler.jobs.deliver import SEND_BUDGET_S, Deliver, DeliveryWorker
from tests.exporters.receivers import Mailbox, smtp_server

from ..harness import DAY_S, T0, Harness, program, server

CTO, OPS = "mailto://cto@example.com", "mailto://ops@example.com"
NOTICE_S = 3_600


def told(**changes: object) -> Program:
    """A program whose startup has a contact, an operator, and a limit of four GPUs."""
    of = program(limit=4, notice_s=NOTICE_S)
    (cohort,) = of.cohorts
    acme = replace(cohort.startups[0], contacts=(CTO,))
    made = replace(of, cohorts=(replace(cohort, startups=(acme,)),), operators=(OPS,))
    return replace(made, **changes)  # type: ignore[arg-type]  # the fields of a Program


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """A running SMTP server."""
    with smtp_server() as running:
        yield running


def mailer(mailbox: Mailbox) -> Deliverer:
    """A deliverer that sends to it."""
    where = {"smtp_host": mailbox.host, "smtp_port": mailbox.port}
    settings = Settings(smtp_encryption="none", mail_from="c@program.example", timeout_s=5)
    return Deliverer(replace(settings, **where))  # type: ignore[arg-type]


def deliveries(
    harness: Harness, deliver: Deliver, metrics: Metrics | None = None
) -> DeliveryWorker:
    """The deliveries of the harness's first daemon."""
    return DeliveryWorker(
        book=harness.book,
        clock=harness.clock,
        lease=lambda: harness.cycle.lease,
        deliver=deliver,
        metrics=metrics or Metrics(),
    )


def subjects(mailbox: Mailbox, to: str) -> list[str]:
    """The messages that one address received, in order."""
    return [mail["Subject"] for mail in mailbox.mails if f"mailto://{mail['To']}" == to]


def test_a_startup_hears_of_a_stop_before_it_and_after_it(mailbox: Mailbox) -> None:
    """The startup gets notice, reminder and end; the operator's copy precedes the stop."""
    harness = Harness(told())
    post = deliveries(harness, mailer(mailbox))
    before_stop: list[list[str]] = []
    harness.cloud.on_stop = lambda _: before_stop.append(subjects(mailbox, OPS))
    harness.cloud.add(server())
    while harness.clock.now_s() < T0 + NOTICE_S + 300:
        harness.run(30)
        post.run()
    startup, operator = subjects(mailbox, CTO), subjects(mailbox, OPS)
    chain_heads = [subject.split(" ", 1)[1][:12] for subject in startup]
    assert chain_heads == ["s1 stops Fri", "reminder: s1", "s1 was stopp"]
    assert before_stop == [operator[:1]] and "s1 stops" in operator[0]
    assert [s.rpartition("s1 ")[2] for s in operator[1:]] == ["is being stopped now", "was stopped"]
    text = mailbox.mails[0].get_content()
    assert "8 GPUs in h100, its limit is 4" in text and "its slot goes back to Scaleway" in text
    assert post.run() == 0


@pytest.mark.parametrize(
    ("mode", "startup", "operator"),
    [("shadow", 0, 1), ("off", 0, 0)],
    ids=["shadow mode mails operators", "mode off mails nobody"],
)
def test_what_is_not_enforced_reaches_no_startup(
    mailbox: Mailbox, mode: str, startup: int, operator: int
) -> None:
    """In shadow mode only the operator gets mail; in mode off nobody does."""
    harness = Harness(told(mode=mode))
    harness.cloud.add(server())
    harness.run(30)
    deliveries(harness, mailer(mailbox)).run()
    assert (len(subjects(mailbox, CTO)), len(subjects(mailbox, OPS))) == (startup, operator)


def test_a_mail_killed_after_sending_comes_again_as_the_same_mail(
    mailbox: Mailbox, tmp_path: Path
) -> None:
    """After kill -9 between the server's OK and the record, the same Message-ID is sent again."""
    harness = Harness(told(operators=()), Book.open(tmp_path))
    harness.cloud.add(server())
    harness.run(30)
    harness.book.close()
    send = mailer(mailbox)

    def send_and_die(delivery: Delivery) -> DeliveryResult:
        assert send(delivery).outcome == "sent"
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")

    child = os.fork()
    if child == 0:
        try:
            harness.book = Book.open(tmp_path)
            deliveries(harness, send_and_die).run()
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert len(mailbox.mails) == 1

    harness.book = harness.cycle.book = Book.open(tmp_path)
    post = deliveries(harness, send)
    assert post.run() == 0, "the claim may still be somebody's"
    harness.run(200)  # the lease ran out in between, so the epoch is new
    assert post.run() == 1 and post.run() == 0
    first, second = (mail["Message-ID"] for mail in mailbox.mails)
    assert first == second
    assert [row["state"] for row in harness.all("outbox")] == ["sent"]


def test_a_channel_that_is_down_ends_as_a_dead_letter_and_a_broken_promise(
    mailbox: Mailbox,
) -> None:
    """A delivery fails after a bounded number of tries, and the notice counts as breached."""
    mailbox.to_mail = "452 disk full"
    harness, metrics = Harness(told(operators=())), Metrics()
    harness.cycle.publish = metrics.publish
    tries: list[int] = []
    send = mailer(mailbox)

    def counted(delivery: Delivery) -> DeliveryResult:
        tries.append(harness.clock.now_s())
        return send(delivery)

    post = deliveries(harness, counted, metrics)
    harness.cloud.add(server())
    while harness.clock.now_s() < T0 + 3 * NOTICE_S:
        harness.run(30)
        post.run()
    metrics.render()  # a scrape in which each series is at 0
    first = tries[0]
    gaps = [later - earlier for earlier, later in pairwise(tries)]
    assert gaps[0] == retry_delay_s(1) and max(gaps) >= retry_delay_s(6)
    assert len([each for each in tries if each < first + 3600]) <= 16, "no storm"
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }
    assert found["cohortd_deliveries_total", "failed"] >= 1
    assert found["cohortd_deliveries_total", "retried"] >= MAX_ATTEMPTS - 1
    assert found["cohortd_deliveries_failed",] >= 1
    assert found["cohortd_notices_breached_total", "acme"] == 1
    broken = [row for row in harness.all("decision") if row["verb"] == "breach"]
    assert len(broken) == 1 and "sent_s" not in str(broken[0]["inputs"])
    amends = [
        row["reason"] for row in harness.all("transfer") if row["actor"] == "notice-compensation"
    ]
    assert amends == ["notice 1 was short of 01:00:00"], "the whole of it"


def test_nothing_is_sent_under_a_lease_that_only_the_wall_clock_prolongs(mailbox: Mailbox) -> None:
    """After a step back, a lease that lasts by the wall clock alone claims no delivery."""
    harness = Harness(told())
    harness.cloud.add(server())
    harness.run(30)
    post = deliveries(harness, mailer(mailbox))
    harness.clock.move_to(harness.clock.now_s() + 170)
    harness.clock.step(-170)
    assert post.run() == 0
    harness.run(30)
    harness.run(30)
    assert post.run() > 0


def test_operators_hear_of_a_broken_promise_at_once_and_once(mailbox: Mailbox) -> None:
    """If no channel of the startup takes the notice, the operators are mailed."""
    harness = Harness(told())
    send = mailer(mailbox)

    def half_down(delivery: Delivery) -> DeliveryResult:
        return DeliveryResult("retry", "no route") if delivery.startup else send(delivery)

    post = deliveries(harness, half_down)
    harness.cloud.add(server())
    at_s: list[int] = []
    while harness.clock.now_s() < T0 + 2 * NOTICE_S:
        harness.run(30)
        post.run()
        if not at_s and any("broken promise" in each for each in subjects(mailbox, OPS)):
            at_s.append(harness.clock.now_s())
    chain_heads = [each.partition("] ")[2].partition(" Fri")[0] for each in subjects(mailbox, OPS)]
    broken = "broken promise: s1 had less notice than was promised"
    assert sorted(chain_heads) == [broken, "s1 is being stopped now", "s1 stops", "s1 was stopped"]
    (notice,) = harness.all("notice")
    assert 0 <= at_s[0] - int(str(notice["deadline_s"])) <= 30
    assert subjects(mailbox, CTO) == []


def test_the_daily_heads_are_mailed_once_a_day_and_prove_the_book(mailbox: Mailbox) -> None:
    """Chain heads are mailed to operators if the policy says so, and `verify` finds the hash."""
    base = told(mode="off")
    quiet, loud = (
        Harness(base),
        Harness(replace(base, policy=replace(base.policy, mails_chain_heads=True))),
    )
    for harness in (quiet, loud):
        post = deliveries(harness, mailer(mailbox))
        harness.cloud.add(server())
        harness.run()
        while harness.clock.now_s() < T0 + 2 * DAY_S:
            harness.run(DAY_S // 8)
            post.run()
    assert subjects(mailbox, CTO) == []
    days = [f"p: heads of the books, 2027-01-{day}" for day in (15, 16, 17)]
    assert subjects(mailbox, OPS) == days
    text = mailbox.mails[-1].get_content()
    assert verify(loud.book, expected_heads=hashes_in(text)).fault is None
    assert verify(quiet.book, expected_heads=hashes_in(text)).fault is None, (
        "the same world, the same book"
    )
    assert len(hashes_in(text)) == 1 and quiet.all("outbox") == []


def test_the_daily_heads_wait_for_the_end_of_quiet_hours() -> None:
    """Chain heads are not urgent: the day's first commit writes them for the end of quiet hours."""
    base = told(mode="off")
    policy = replace(base.policy, mails_chain_heads=True, quiet_hours_s=(22 * 3600, 9 * 3600))
    harness = Harness(replace(base, policy=policy))  # T0 is 08:00 UTC
    harness.run()
    harness.run(30)
    (row,) = harness.all("outbox")
    assert (row["is_urgent"], row["due_s"], row["created_s"]) == (0, T0 + 3600, T0)
    assert (row["recipient"], row["audience"], row["startup"]) == (OPS, "operator", "")


def test_a_standby_sends_nothing(mailbox: Mailbox) -> None:
    """Only the leader delivers: while another daemon holds the lease, nothing is claimed."""
    harness = Harness(told())
    harness.cloud.add(server())
    harness.run(30)
    other = harness.daemon("b")
    other.run()
    idle = DeliveryWorker(
        book=harness.book,
        clock=harness.clock,
        lease=lambda: other.lease,
        deliver=mailer(mailbox),
        metrics=Metrics(),
    )
    assert idle.run() == 0 and mailbox.mails == []


def test_a_lease_that_ends_soon_begins_no_sending(mailbox: Mailbox) -> None:
    """A delivery starts only if the lease lasts longer than the delivery may take."""
    harness = Harness(told())
    harness.cloud.add(server())
    harness.run(30)
    harness.clock.step(150)
    assert deliveries(harness, mailer(mailbox)).run() == 0 and mailbox.mails == []


def test_a_sending_holds_no_transaction() -> None:
    """While a channel hangs, another connection can write: no lock is held during a delivery."""
    harness = Harness(told())
    harness.cloud.add(server())
    harness.run(30)
    written: list[str] = []

    def slow(delivery: Delivery) -> DeliveryResult:
        harness.run(1)
        written.append(delivery.recipient)
        return DeliveryResult("sent")

    assert deliveries(harness, slow).run() == 2
    assert sorted(written) == [CTO, OPS]


def test_what_waits_is_told_while_a_sending_hangs() -> None:
    """The gauges count the delivery under way and those that wait, and fall as each ends."""
    harness, metrics = Harness(told()), Metrics()
    harness.cycle.publish = metrics.publish
    harness.cloud.add(server())
    harness.run(30)
    waiting: list[float] = []

    def shown() -> float:
        families = text_string_to_metric_families(metrics.render().decode())
        found = {sample.name: sample.value for family in families for sample in family.samples}
        return found["cohortd_deliveries_pending"]

    def slow(_: Delivery) -> DeliveryResult:
        waiting.append(shown())
        return DeliveryResult("sent")

    assert deliveries(harness, slow, metrics).run() == 2
    assert [*waiting, shown()] == [2, 1, 0]


def test_a_sending_is_over_before_its_lease_may_be() -> None:
    """The sender's own time limit is below the time that the lease must leave."""
    assert 0 < Settings().timeout_s < Settings().total_s < SEND_BUDGET_S


def test_stopping_ends_after_the_sending_under_way() -> None:
    """On SIGTERM the current delivery is finished and recorded, and no other one starts."""
    harness = Harness(told())
    harness.cloud.add(server())
    harness.run(30)
    post = deliveries(harness, lambda _: DeliveryResult("sent"))

    def stop_then_sent(_: Delivery) -> DeliveryResult:
        post.stop()
        return DeliveryResult("sent")

    post.deliver = stop_then_sent
    assert post.run() == 1
    assert sorted(str(row["state"]) for row in harness.all("outbox")) == ["sent", "waiting"]
