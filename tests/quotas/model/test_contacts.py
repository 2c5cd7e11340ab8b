"""Masked contacts: no message shows a token, a password or the path of a webhook."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotas.model.contacts import CHAT, SCHEMES, mask_contact, mask_urls

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
