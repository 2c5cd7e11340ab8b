"""The token rule over whole cycles: from the book to notices, the outbox and the metrics."""

from __future__ import annotations

from dataclasses import replace

from exporters.metrics import Metrics
from quotas.book.actions.tokens import create_token, revoke_token, rotate_token
from quotas.book.verify.verify import verify
from quotas.model.tokens import Token, fingerprint, write_token
from tests.scheduler.harness import DAY_S, T0, Harness, program

OPS, CTO = "mailto:ops@example.com", "mailto:cto@example.com"


def harness_with_contacts() -> Harness:
    """A program whose startup and operators have a contact each."""
    made = program()
    cohort = made.cohorts[0]
    acme = replace(cohort.startups[0], contacts=(CTO,))
    return Harness(replace(made, operators=(OPS,), cohorts=(replace(cohort, startups=(acme,)),)))


def hash_of(number: int) -> str:
    """The hash of a token, the same for the same number."""
    found = fingerprint(write_token(bytes([number]) * 32))
    assert found is not None
    return found


def mint(harness: Harness, number: int, startup: str, days: int) -> Token:
    """A token that lives so many days from the start of the world."""
    terms = Token("", f"t{number}", startup, ("node",), T0, T0 + days * DAY_S, None, "op")
    return create_token(harness.book, terms, hash_of(number))


def told(harness: Harness) -> list[tuple[object, object, object]]:
    """Recipient, startup and kind of every message about tokens."""
    rows = [row for row in harness.all("outbox") if row["rule"] == "token"]
    return [(row["recipient"], row["startup"], row["kind"]) for row in rows]


def test_a_token_that_ends_is_told_once_to_startup_and_operators() -> None:
    """Over restarts of the daemon too; the end of an operators' token is theirs alone."""
    harness = harness_with_contacts()
    mint(harness, 1, "acme", 16)
    harness.run()
    assert told(harness) == []
    harness.run(2 * DAY_S)
    harness.cycle = harness.daemon("a")
    harness.run(30)
    assert told(harness) == [(CTO, "acme", "announced"), (OPS, "acme", "announced")]
    mint(harness, 2, "", 17)
    harness.run(DAY_S)
    assert told(harness)[2:] == [(OPS, "", "announced")]
    assert [n["rule"] for n in harness.all("notice")].count("token") == 2
    assert verify(harness.book).fault is None


def test_the_metric_shows_the_ends_of_tokens_in_force() -> None:
    """The nearer of expiry and revocation; an ended token is gone from the next view."""
    harness, metrics = Harness(), Metrics()
    first, second = mint(harness, 1, "acme", 30), mint(harness, 2, "", 1)
    now_s = harness.clock.now_s()
    harness.run()
    assert {t.id: t.ends_s for t in harness.views[-1].status.tokens} == {
        first.id: T0 + 30 * DAY_S,
        second.id: T0 + DAY_S,
    }
    successor = replace(first, created_s=now_s, expires_s=T0 + 90 * DAY_S)
    third = rotate_token(harness.book, first.id, successor, hash_of(3), now_s + 3600)
    harness.run(60)
    metrics.publish(harness.views[-1])
    name = "cohortd_token_end_timestamp_seconds"
    samples = {
        (sample.labels["startup"], sample.labels["token"]): sample.value
        for family in metrics.collect()
        for sample in family.samples
        if sample.name == name
    }
    assert samples == {
        ("acme", first.id): now_s + 3600,
        ("", second.id): T0 + DAY_S,
        ("acme", third.id): T0 + 90 * DAY_S,
    }
    revoke_token(harness.book, third.id, harness.clock.now_s())
    harness.run(DAY_S)
    assert harness.views[-1].status.tokens == ()
