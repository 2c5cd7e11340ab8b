"""Contacts: which ones a program file may name."""

from __future__ import annotations

import pytest

from quotas.model.contacts import CHAT, CHAT_HOSTS, contact_problem


@pytest.mark.parametrize(
    ("contact", "channel"),
    [
        ("https://hooks.slack.com/services/T/B/x", "slack"),
        ("https://discord.com/api/webhooks/1/2", "discord"),
        ("https://ptb.discord.com/api/webhooks/1/2", "discord"),
        ("https://DISCORDAPP.com./api/webhooks/1/2", "discord"),
        ("https://chat.googleapis.com/v1/spaces/x", "gchat"),
        ("https://api.telegram.org/bot1/sendMessage", "tgram"),
        ("https://events.eu.pagerduty.com/v2/enqueue", "pagerduty"),
    ],
)
def test_a_chat_service_is_no_generic_webhook(contact: str, channel: str) -> None:
    """The refusal names the channel to write instead, and not the URL with its secret."""
    problem = contact_problem(contact)
    assert problem is not None and f"write {channel}://" in problem and contact not in problem


def test_every_chat_host_has_a_channel_that_cohortd_knows() -> None:
    """Each channel with a fixed host is in the table, and no other."""
    assert set(CHAT_HOSTS.values()) == CHAT


@pytest.mark.parametrize(
    ("contact", "problem"),
    [
        ("discord://1/2,json://127.0.0.1:80/x", "more than one service"),
        ("slack://a/b/c;json://127.0.0.1/", "more than one service"),
        ("https://hooks.example.com/\u202ex", "not printable"),
        ("discord://1/\x1b[2J", "not printable"),
    ],
)
def test_a_contact_is_one_printable_url(contact: str, problem: str) -> None:
    """A list of services and marks that cannot be seen are refused."""
    assert problem in (contact_problem(contact) or "")


@pytest.mark.parametrize(
    "contact",
    [
        "https://hooks.example.com/cohortd",
        "https://notslack.com/x",
        "discord://1/2",
        "mailto:a@b.example",
    ],
)
def test_other_contacts_are_accepted(contact: str) -> None:
    """A host that only ends like a chat service is a webhook."""
    assert contact_problem(contact) is None
