"""Chat services on the wire: all of a message arrives, however little the service takes at once."""

from __future__ import annotations

import json
from collections.abc import Iterator

import apprise
import pytest
from apprise.plugins.discord import NotifyDiscord

from exporters.notify.deliver import Deliverer
from exporters.notify.settings import Settings
from quotas.model.contacts import CHAT

from .deliveries import a_delivery, a_message
from .receivers import HttpReceiver, http_server

DISCORD = "discord://123456789/abcdefgh"
MOST = 2000
"""What Discord takes; more it answers with 400."""


@pytest.fixture
def discord(monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpReceiver]:
    """Discord, on loopback."""
    with http_server() as running:
        address = f"http://127.0.0.1:{running.port}/api/webhooks"
        monkeypatch.setattr(NotifyDiscord, "notify_url", address)
        yield running


@pytest.mark.filterwarnings("ignore:.*imghdr:DeprecationWarning")
def test_every_chat_service_is_one_that_the_library_knows() -> None:
    """It drops services now and then: what it cannot send to is no contact."""
    services = apprise.Apprise().details()["schemas"]
    schemes = {scheme for each in services for scheme in each["secure_protocols"] or ()}
    assert schemes >= CHAT


def heard(hook: HttpReceiver) -> list[str]:
    """What was posted, in order."""
    return [json.loads(body)["content"] for _, _, body in hook.requests]


def test_a_digest_longer_than_a_chat_takes_arrives_whole(discord: HttpReceiver) -> None:
    """Every word of every letter, in parts that the service does not refuse."""
    parts = [a_message(f"n{n}.x", text=f"letter {n}\n" + f"word{n} " * 130) for n in range(5)]
    delivery = a_delivery(*parts, recipient="discord://123456789/abcdefgh")
    assert len(delivery.text) > 2 * MOST
    assert Deliverer(Settings())(delivery).outcome == "sent"
    said = heard(discord)
    assert len(said) > 1 and max(map(len, said)) <= MOST
    words = " ".join(said).split()
    assert [each for each in words if each.startswith("word")] == [
        f"word{n}" for n in range(5) for _ in range(130)
    ]
    assert delivery.subject in said[0]


def test_a_letter_that_fits_is_one_message(discord: HttpReceiver) -> None:
    """What is urgent goes alone and is not cut up."""
    delivery = a_delivery(recipient="discord://123456789/abcdefgh")
    assert Deliverer(Settings())(delivery).outcome == "sent"
    (said,) = heard(discord)
    assert delivery.subject in said and "4.20 credits" in said


def test_a_mistyped_token_is_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    """Apprise would print a token that it cannot read, since the daemon configures no log of it."""
    delivery = a_delivery(a_message("n1.x"), recipient="slack://T1/B2/secret!secret!secret")
    assert Deliverer(Settings())(delivery).outcome == "refused"
    assert caplog.messages == []


def test_a_name_mentions_nobody_in_a_chat(discord: HttpReceiver) -> None:
    """A server called @everyone reaches the chat with its letters, and without the mention."""
    message = a_message(subject="@everyone stops", text="<@&1> [pay](https://x.test)\x1b[2J\n")
    assert Deliverer(Settings())(a_delivery(message, recipient=DISCORD)).outcome == "sent"
    posted = "".join(heard(discord))
    assert "everyone" in posted and "\x1b" not in posted
    assert not any(text in posted for text in ("@everyone", "<@", "]("))


def test_one_contact_reaches_one_service(discord: HttpReceiver) -> None:
    """A second URL behind a comma posts nowhere: apprise would read a list of services."""
    with http_server() as inner:
        recipient = f"{DISCORD},json://127.0.0.1:{inner.port}/x"
        Deliverer(Settings())(a_delivery(recipient=recipient))
        assert inner.requests == []
