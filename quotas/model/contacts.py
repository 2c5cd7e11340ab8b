"""Where may a notice go? Which contact addresses are taken, and how they are shown.

A contact names a channel and an address. Channels whose host the contact chooses are mail
and webhooks only, which check where they connect to; the others are services of fixed name.
"""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

MAIL = frozenset({"mailto", "mailtos"})
WEBHOOK = frozenset({"http", "https"})
CHAT = frozenset(
    {"discord", "gchat", "opsgenie", "pagerduty", "pover", "slack", "tgram", "wxteams"}
)
SCHEMES = MAIL | WEBHOOK | CHAT
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")


def scheme_of(contact: str) -> str:
    """The channel of a contact: what stands before its first colon."""
    return contact.partition(":")[0].lower()


def mail_address(contact: str) -> str:
    """The address of a mail contact, `mailto://cto@example.com` or `mailto:cto@example.com`."""
    return unquote(contact.partition(":")[2].removeprefix("//").rstrip("/"))


def contact_problem(contact: str) -> str | None:
    """What is wrong with a contact, with its fix; None for one that can be used."""
    scheme = scheme_of(contact)
    if scheme in MAIL:
        return None if _ADDRESS.fullmatch(mail_address(contact)) else _NO_ADDRESS
    if scheme in WEBHOOK:
        return _webhook_problem(contact)
    if scheme not in SCHEMES:
        return f"goes nowhere cohortd can send to; write one of {', '.join(sorted(SCHEMES))}"
    if not contact.partition("://")[2]:
        return f"has nothing after its channel; write {scheme}:// and what the service asks for"
    return None


_NO_ADDRESS = "is no mail address; write such as mailto://cto@example.com, without a password"


def _webhook_problem(contact: str) -> str | None:
    try:
        url = urlsplit(contact)
        host, _ = url.hostname, url.port
    except ValueError as error:
        return f"is no URL ({error}); write such as https://hooks.example.com/cohortd"
    if not host:
        return "names no host; write such as https://hooks.example.com/cohortd"
    if url.username is not None or url.password is not None:
        return "holds a password; take it out: each webhook is signed instead"
    if url.fragment:
        return "has a part after '#', which no server sees; take it out"
    return None


def mask_contact(contact: str) -> str:
    """A contact as it may be shown: the address of a mail, else no path, which may be a secret."""
    scheme = scheme_of(contact)
    if scheme in MAIL:
        return mail_address(contact)
    if scheme in WEBHOOK:
        return f"{scheme}://{urlsplit(contact).netloc}/…"
    return f"{scheme}://…"
