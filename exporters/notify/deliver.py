"""Dispatch of a delivery to its channel: mail, webhook, or a chat service by apprise."""

from __future__ import annotations

import logging
from dataclasses import replace

import apprise
from apprise import OverflowMode
from apprise.logger import logger as apprise_logger

from exporters.notify.mail import send_mail
from exporters.notify.settings import Settings
from exporters.notify.webhook import send_webhook
from quotas.messages.routing import Delivery, DeliveryResult
from quotas.model.contacts import MAIL, WEBHOOK, scheme_of
from quotas.model.text import chat_text, clean

# apprise logs tokens that it cannot read, and Python prints them where no log is configured.
apprise_logger.setLevel(logging.CRITICAL + 1)


class Deliverer:
    """The port that the scheduler delivers through. `settings` may be replaced at any time."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def __call__(self, delivery: Delivery) -> DeliveryResult:
        """Send a delivery once over its recipient's channel."""
        result = self._send(delivery)
        # A service answers what it likes, and the detail reaches logs, metrics and terminals.
        return replace(result, detail=clean(result.detail))

    def _send(self, delivery: Delivery) -> DeliveryResult:
        scheme = scheme_of(delivery.recipient)
        if scheme in MAIL:
            return send_mail(delivery, self.settings)
        if scheme in WEBHOOK:
            return send_webhook(delivery, self.settings)
        return _send_chat(delivery, self.settings)


def _send_chat(delivery: Delivery, settings: Settings) -> DeliveryResult:
    """Send through apprise, which answers only whether it succeeded."""
    # `instantiate` reads one service. `Apprise.add` would read a list, such as an own json:// URL.
    service = apprise.Apprise.instantiate(delivery.recipient)
    if service is None:
        return DeliveryResult(
            "refused", "apprise cannot read this contact; see its page for the service"
        )
    # By default apprise sends text that is too long as it is, and the service refuses it.
    service.overflow_mode = OverflowMode.SPLIT
    channel = apprise.Apprise()
    channel.add(service)
    taken = channel.notify(
        title=chat_text(delivery.subject),
        body=chat_text(delivery.text),
        body_format="text",
        timeout=settings.total_s,
    )
    return (
        DeliveryResult("sent") if taken else DeliveryResult("retry", "the service did not take it")
    )
