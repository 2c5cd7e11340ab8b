"""Contacts: which addresses a notice may go to, and how they are shown.

A contact names a channel and an address. Only mail and webhooks let the contact choose the host,
because they check where they connect. Every other channel is a service with a fixed host.
"""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

MAIL = frozenset({"mailto", "mailtos"})
WEBHOOK = frozenset({"http", "https"})
CHAT = frozenset(
    {"discord", "gchat", "opsgenie", "pagerduty", "pover", "slack", "tgram", "wxteams"}
)
CHAT_HOSTS = {
    "discord.com": "discord",
    "discordapp.com": "discord",
    "chat.googleapis.com": "gchat",
    "opsgenie.com": "opsgenie",
    "pagerduty.com": "pagerduty",
    "pushover.net": "pover",
    "slack.com": "slack",
    "telegram.org": "tgram",
    "webex.com": "wxteams",
    "webexapis.com": "wxteams",
}
"""Hosts of chat services with the channel of each. They refuse a webhook in cohortd's form."""
SCHEMES = MAIL | WEBHOOK | CHAT
_SCHEME = re.compile(r"[a-z]{1,10}")
"""What is shown as the scheme of a contact. A longer text may be a token."""
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")


def scheme_of(contact: str) -> str:
    """The channel of a contact: the text before its first colon."""
    return contact.partition(":")[0].lower()


def mail_address(contact: str) -> str:
    """The address of a mail contact, `mailto://cto@example.com` or `mailto:cto@example.com`."""
    return unquote(contact.partition(":")[2].removeprefix("//").rstrip("/"))


def contact_problem(contact: str) -> str | None:
    """The problem of a contact with its fix; None for a valid contact."""
    scheme = scheme_of(contact)
    if not contact.isprintable():
        return "contains a character that is not printable; remove it"
    if scheme in MAIL:
        return None if _ADDRESS.fullmatch(mail_address(contact)) else _NO_ADDRESS
    if scheme in WEBHOOK:
        return _webhook_problem(contact)
    if scheme not in SCHEMES:
        return (
            f"has a channel that cohortd does not know; write one of {', '.join(sorted(SCHEMES))}"
        )
    if not contact.partition("://")[2]:
        return f"has no address after {scheme}:; write {scheme}:// and the service's own notation"
    if contact.count("://") > 1:
        return "names more than one service; write each contact on its own"
    return None


_NO_ADDRESS = "is not a mail address; write it such as mailto://cto@example.com, without a password"


def _webhook_problem(contact: str) -> str | None:
    try:
        url = urlsplit(contact)
        host, _ = url.hostname, url.port
    except ValueError:  # its text may quote a part of the URL
        return "is not a URL; write it such as https://hooks.example.com/cohortd"
    if not host:
        return "has no host; write it such as https://hooks.example.com/cohortd"
    if url.username is not None or url.password is not None:
        return "contains a password; remove it: cohortd signs each webhook instead"
    if url.fragment:
        return "has a part after '#', which the server never gets; remove it"
    chat = _chat_of(host)
    if chat is not None:
        return (
            f"is a chat service, which refuses cohortd's signed webhooks; write {chat}:// and the "
            "service's own notation (docs/notices.md)"
        )
    return None


def _chat_of(host: str) -> str | None:
    """The channel of a chat service's host or of a host below it."""
    name = host.rstrip(".").lower()
    found = (c for known, c in CHAT_HOSTS.items() if name == known or name.endswith(f".{known}"))
    return next(found, None)


def mask_contact(contact: str) -> str:
    """A contact as it may be shown, whether it is valid or mistyped.

    A mail address has no secret. Of a webhook, the scheme and the host are shown. Of every other
    text only the scheme is shown, because the host of a chat contact is a token.
    """
    address = mail_address(contact) if scheme_of(contact) in MAIL else contact
    if _ADDRESS.fullmatch(address):
        return address
    scheme, colon, _ = contact.partition(":")
    if not colon or not _SCHEME.fullmatch(scheme):
        return "…"
    host = _host(contact) if scheme in WEBHOOK else ""
    return f"{scheme}://{host}/…" if host else f"{scheme}://…"


def _host(url: str) -> str:
    """The host of a URL, without user and password; empty if it has none."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.hostname}{port}" if parts.hostname else ""
    except ValueError:
        return ""


def mask_urls(text: str) -> str:
    """A text of any kind; it is masked if it looks like a contact with a secret."""
    is_contact = "//" in text or (":" in text and scheme_of(text) in SCHEMES)
    return mask_contact(text) if is_contact else text
