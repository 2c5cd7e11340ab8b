"""A parcel to deliver, with defaults."""

from __future__ import annotations

from typing import Any

from quotas.messages.routing import Delivery, Message

CTO = "mailto://cto@example.com"


def a_message(event: str = "n1.notice.1800.abc", **changes: Any) -> Message:
    """A notice to acme about server trainer."""
    values: dict[str, Any] = {
        "kind": "notice",
        "audience": "startup",
        "startup": "acme",
        "server_name": "trainer",
        "rule": "limit",
        "notice_id": 1,
        "created_s": 0,
        "deadline_s": 1800,
        "subject": "[acme] trainer stops Tue 5 Jan 2027 10:00 CET",
        "text": "Startup: acme\n4.20 credits — left\n",
        **changes,
    }
    return Message(event, **values)


def a_delivery(*messages: Message, **changes: Any) -> Delivery:
    """The first attempt at a parcel, claimed at 100."""
    carried = messages or (a_message(),)
    values: dict[str, Any] = {
        "recipient": CTO,
        "claimed_s": 100,
        "attempts": 1,
        "messages": carried,
        **changes,
    }
    return Delivery(carried[0].event, **values)
