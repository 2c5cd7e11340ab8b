"""Mail: plain text over SMTP, with a stable Message-ID.

The Message-ID is derived from the delivery's batch, so a mail that is sent again after a crash is
the same mail to its recipient.
"""

from __future__ import annotations

import hashlib
import smtplib
import socket
import ssl
from email.message import EmailMessage
from email.utils import formatdate

from exporters.notify.deadline import Deadline
from exporters.notify.settings import Settings
from quotas.messages.routing import Delivery, DeliveryResult
from quotas.model.contacts import mail_address
from quotas.model.text import clean, clean_lines

PERMANENT = 500


def message_id(delivery: Delivery, sender: str) -> str:
    """The Message-ID, which depends on the batch and the recipient only."""
    seed = f"{delivery.batch} {delivery.recipient} {delivery.messages[0].created_s}"
    return f"<{hashlib.sha256(seed.encode()).hexdigest()[:40]}@{sender.rpartition('@')[2]}>"


def build_mail(delivery: Delivery, sender: str) -> EmailMessage:
    """The whole mail. The same delivery gives the same mail except for its Date."""
    mail = EmailMessage()
    mail["From"], mail["To"] = sender, mail_address(delivery.recipient)
    mail["Subject"] = " ".join(clean(delivery.subject).split())  # a header is one line
    mail["Date"] = formatdate(delivery.claimed_s)
    mail["Message-ID"] = message_id(delivery, sender)
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(clean_lines(delivery.text))
    return mail


def send_mail(delivery: Delivery, settings: Settings) -> DeliveryResult:
    """Send the mail to the SMTP server. A refusal of the recipient is permanent."""
    if not settings.smtp_host or not settings.mail_from:
        return DeliveryResult("retry", "COHORTD_SMTP_HOST and COHORTD_MAIL_FROM are not set")
    try:
        mail = build_mail(delivery, settings.mail_from)
        with Deadline(settings.total_s) as deadline, _connected(settings, deadline) as server:
            server.send_message(mail)
    except smtplib.SMTPRecipientsRefused as error:
        code, text = next(iter(error.recipients.values()))
        return DeliveryResult(
            "refused" if code >= PERMANENT else "retry", f"{code} {_decoded(text)}"
        )
    except smtplib.SMTPResponseException as error:
        # The server refuses us, not the recipient (a wrong password, a full disk). An operator
        # can repair that, so it is worth another try.
        return DeliveryResult("retry", f"{error.smtp_code} {_decoded(error.smtp_error)}")
    except (OSError, smtplib.SMTPException) as error:
        return DeliveryResult("retry", f"{type(error).__name__}: {error}")
    except ValueError as error:
        return DeliveryResult("refused", f"no mail can be made of it: {error}")
    return DeliveryResult("sent")


def _decoded(reply: bytes | str) -> str:
    return reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply


class _Session(smtplib.SMTP):
    """A session over a connection with a deadline; "tls" encrypts it from the start."""

    def __init__(self, settings: Settings, deadline: Deadline) -> None:
        self._deadline, self._has_tls = deadline, settings.smtp_encryption == "tls"
        super().__init__(settings.smtp_host, settings.smtp_port, timeout=settings.timeout_s)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        # The one place where smtplib connects; its SMTP_SSL overrides it in the same way.
        sock = self._deadline.connect(host, port, timeout)
        if self._has_tls:
            return ssl.create_default_context().wrap_socket(sock, server_hostname=host)
        return sock


def _connected(settings: Settings, deadline: Deadline) -> smtplib.SMTP:
    """A session with the server, encrypted and logged in as the settings say."""
    server = _Session(settings, deadline)
    try:
        if settings.smtp_encryption == "starttls":
            server.starttls(context=ssl.create_default_context())
        if settings.smtp_user:
            server.login(settings.smtp_user, settings.smtp_password)
    except (OSError, smtplib.SMTPException):
        server.close()
        raise
    return server
