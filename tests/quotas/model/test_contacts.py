"""Contacts: which ones a program file may name, and what is shown of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotas.model.contacts import (
    CHAT,
    CHAT_HOSTS,
    SCHEMES,
    contact_problem,
    mask_contact,
    mask_urls,
)

SHOWN = {
    "mailto://cto@example.com": "cto@example.com",
    "mailto:cto@example.com": "cto@example.com",
    "cto@example.com": "cto@example.com",
    "mailto://cto:secret@example.com": "mailto://…",
    "https://hooks.example.com/secret?secret": "https://hooks.example.com/…",
    "https://secret:secret@hooks.example.com:8443/secret": "https://hooks.example.com:8443/…",
    "https://hooks.example.com:secret/": "https://…",
    "https:/hooks.example.com/secret": "https://…",
    "htps://hooks.example.com/secret": "htps://…",
    "slack://secret/secret": "slack://…",
    "slack:secret": "slack://…",
    "slack//secret": "…",
    "secret-0123456789:secret": "…",
    "": "…",
}


@pytest.mark.parametrize("contact", SHOWN)
def test_a_contact_is_shown_without_its_secrets(contact: str) -> None:
    """A mail address whole, of a webhook scheme and host, of anything else at most the scheme."""
    assert mask_contact(contact) == SHOWN[contact]
    assert "secret" not in mask_contact(contact)


@given(st.sampled_from(sorted(CHAT)), st.sampled_from([":", ":/", "://", "//", "/"]), st.text())
def test_a_chat_contact_shows_no_token_however_it_is_mistyped(
    scheme: str, between: str, token: str
) -> None:
    """At most the scheme is shown, whatever stands between it and the token."""
    assert mask_contact(f"{scheme}{between}T0/{token}") in (f"{scheme}://…", "…")


def test_other_texts_are_shown_whole() -> None:
    """Names, times and timezones are no contacts."""
    for text in ("acme", "22:00-08:00", "Europe/Paris", "H100-1-80G@fr-par-2", "30m"):
        assert mask_urls(text) == text
    assert all("secret" not in mask_urls(f"{scheme}:secret") for scheme in SCHEMES)


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
