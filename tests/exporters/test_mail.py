"""Mails on the wire: the same Message-ID at every attempt, and each answer's meaning."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest
from freezegun import freeze_time

from exporters.notify.deliver import Deliverer
from exporters.notify.mail import build_mail
from exporters.notify.settings import Settings

from .deliveries import a_delivery, a_message
from .receivers import Mailbox, slow_server, smtp_server


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """A running SMTP server."""
    with smtp_server() as running:
        yield running


def through(mailbox: Mailbox) -> Deliverer:
    """A deliverer that sends to it, in the clear, on loopback."""
    return Deliverer(
        Settings(
            smtp_host=mailbox.host,
            smtp_port=mailbox.port,
            smtp_encryption="none",
            mail_from="cohortd@program.example",
            timeout_s=5,
        )
    )


def test_a_mail_arrives_as_written(mailbox: Mailbox) -> None:
    """Plain text, whole, with subject, sender, recipient, date and no other part."""
    assert through(mailbox)(a_delivery()).outcome == "sent"
    (mail,) = mailbox.mails
    assert mail["To"] == "cto@example.com" and mail["From"] == "cohortd@program.example"
    assert mail["Subject"] == "[acme] trainer stops Tue 5 Jan 2027 10:00 CET"
    assert mail["Date"] == "Thu, 01 Jan 1970 00:01:40 -0000"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content_type() == "text/plain"
    assert mail.get_content().replace("\r", "") == "Startup: acme\n4.20 credits — left\n"


def test_the_date_of_a_mail_is_that_of_its_claim() -> None:
    """Whatever the machine's clock says when the mail is built, and in whatever zone."""
    for machine in ("2019-03-01", "2031-12-31T23:59:59Z"):
        with freeze_time(machine, tz_offset=9):
            mail = build_mail(a_delivery(claimed_s=1_800_000_000), "cohortd@program.example")
        assert mail["Date"] == "Fri, 15 Jan 2027 08:00:00 -0000"


def test_a_mail_sent_again_has_the_same_message_id(mailbox: Mailbox) -> None:
    """A later attempt is the same mail; another batch or another recipient is not."""
    send, delivery = through(mailbox), a_delivery()
    for each in (
        delivery,
        replace(delivery, attempts=2, claimed_s=900),
        replace(delivery, batch="n2.notice.1.x"),
        replace(delivery, recipient="mailto:ceo@example.com"),
    ):
        assert send(each).outcome == "sent"
    ids = [mail["Message-ID"] for mail in mailbox.mails]
    assert ids[0] == ids[1] and len(set(ids)) == 3
    assert ids[0].endswith("@program.example>")


def test_a_digest_is_one_mail_with_every_message(mailbox: Mailbox) -> None:
    """Several messages make one mail, each under its subject."""
    parts = [a_message(f"n{n}.x", subject=f"subject {n}", text=f"text {n}") for n in range(3)]
    assert through(mailbox)(a_delivery(*parts)).outcome == "sent"
    (mail,) = mailbox.mails
    assert mail["Subject"] == "3 notices about acme"
    assert all(f"subject {n}" in mail.get_content() for n in range(3))


def test_a_name_with_a_line_break_adds_no_header(mailbox: Mailbox) -> None:
    """A server's name comes from outside: it stays within the subject."""
    evil = a_message(subject="[acme] x\r\nBcc: all@example.com\n stops")
    assert through(mailbox)(a_delivery(evil)).outcome == "sent"
    (mail,) = mailbox.mails
    assert mail["Bcc"] is None and mail["Subject"] == "[acme] x Bcc: all@example.com stops"


@pytest.mark.parametrize(
    ("to_recipient", "to_mail", "outcome"),
    [
        ("550 no such user", "250 OK", "refused"),
        ("450 try later", "250 OK", "retry"),
        ("250 OK", "452 disk full", "retry"),
        ("250 OK", "554 not now", "retry"),
    ],
)
def test_each_refusal_has_its_meaning(
    mailbox: Mailbox, to_recipient: str, to_mail: str, outcome: str
) -> None:
    """Nobody of that name is for good; what the server's operator can mend is tried again."""
    mailbox.to_recipient, mailbox.to_mail = to_recipient, to_mail
    delivery_result = through(mailbox)(a_delivery())
    assert delivery_result.outcome == outcome and delivery_result.detail[:3] in (
        to_recipient[:3],
        to_mail[:3],
    )
    assert mailbox.mails == []


def test_a_server_that_is_down_is_tried_again() -> None:
    """Nobody listens: the message waits, and says why."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        settings = Settings(
            smtp_host="127.0.0.1",
            smtp_port=free.getsockname()[1],
            smtp_encryption="none",
            mail_from="cohortd@program.example",
            timeout_s=1,
        )
        delivery_result = Deliverer(settings)(a_delivery())
    assert delivery_result.outcome == "retry" and "refused" in delivery_result.detail.lower()


@pytest.mark.parametrize("encryption", ["none", "tls"])
def test_a_server_that_talks_for_ever_is_cut_at_the_deadline(encryption: str) -> None:
    """A greeting or a handshake without end holds no mail longer than its limit."""
    first = {"none": b"220 ", "tls": b"\x16\x03\x03\x3f\xff"}[encryption]
    with slow_server(first) as slow:
        send = through(Mailbox(port=slow.port))
        send.settings = replace(send.settings, smtp_encryption=encryption, total_s=1)
        delivery_result = send(a_delivery())
        assert delivery_result.outcome == "retry" and "no end within 1 s" in delivery_result.detail
        assert slow.was_disconnected.wait(5)


def test_starttls_is_not_given_up_where_the_server_has_none(mailbox: Mailbox) -> None:
    """A server that offers no encryption gets no mail, and no password."""
    send = through(mailbox)
    send.settings = replace(send.settings, smtp_encryption="starttls", smtp_user="u")
    assert send(a_delivery()).outcome == "retry" and mailbox.mails == []


def test_without_a_server_mails_wait() -> None:
    """Nothing is configured: the message is kept and says which setting is missing."""
    delivery_result = Deliverer(Settings())(a_delivery())
    assert delivery_result.outcome == "retry" and "COHORTD_SMTP_HOST" in delivery_result.detail
