"""The secret key is in the header of a request, and nowhere else."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Iterator

import pytest
import requests

from quotas.model.observation import Unknown
from scheduler.clouds.base import CloudError

from .scripted_http import SECRET_KEY, ZONE, Reply, harness, server_id

ECHOES = [
    Reply(401, json.dumps({"type": "denied_authentication", "message": SECRET_KEY}).encode()),
    Reply(400, json.dumps({"message": "x" * 220 + SECRET_KEY.upper()}).encode()),
    Reply(400, json.dumps({"type": f"type {SECRET_KEY}"}).encode()),
    Reply(500, f"<html>{SECRET_KEY}</html>".encode()),
    Reply(200, f"<html>{SECRET_KEY}</html>".encode()),
    Reply(302, b"", {"Location": f"https://elsewhere.test/{SECRET_KEY}"}),
    Reply(broken=requests.ConnectionError(f"could not send x-auth-token {SECRET_KEY}")),
]


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error with its chain and its traceback."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def quotes_key(text: str) -> bool:
    """Whether a text contains the key or a usable part of it."""
    return SECRET_KEY[:13] in text.lower()


@pytest.mark.parametrize("reply", ECHOES)
def test_no_error_or_log_quotes_the_key(reply: Reply, caplog: pytest.LogCaptureFixture) -> None:
    """A key that the server echoes appears in no error, chain, traceback, sweep or log."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("scaleway").setLevel(logging.DEBUG)
    far = harness(reply)
    with pytest.raises(CloudError) as caught:
        far.cloud.server(ZONE, server_id(1))
    for error in chain(caught.value):
        assert not quotes_key(str(error)) and not quotes_key(repr(error))
        assert getattr(error, "request", None) is None
    assert caught.value.__context__ is None
    assert not quotes_key("".join(traceback.format_exception(caught.value)))
    sweep = far.cloud.sweep(ZONE, 7)
    assert isinstance(sweep, Unknown) and not quotes_key(sweep.detail)
    assert not quotes_key(caplog.text)


def test_key_is_sent_in_its_header_only() -> None:
    """The key travels as x-auth-token, not in a URL or body."""
    far = harness(Reply(404))
    with pytest.raises(CloudError):
        far.cloud.power_off(ZONE, server_id(1))
    [request] = far.adapter.asked
    assert request.headers["x-auth-token"] == SECRET_KEY
    assert not quotes_key(str(request.url)) and not quotes_key(str(request.body))


def test_repr_shows_no_key() -> None:
    """The cloud names its organization and URL, and hides its keys."""
    text = repr(harness(Reply()).cloud)
    assert "api.scaleway.test" in text
    assert not quotes_key(text) and "SCW" not in text


def test_far_ends_words_are_one_short_line() -> None:
    """A cloud's message is kept printable and short, so that it cannot forge a log line."""
    words = json.dumps({"message": "a\nlevel=info\x1b[2J" + "x" * 10_000}).encode()
    with pytest.raises(CloudError) as caught:
        harness(Reply(400, words)).cloud.server(ZONE, server_id(1))
    assert len(str(caught.value)) < 300 and str(caught.value).isprintable()


def test_other_users_of_the_sdk_are_left_alone() -> None:
    """Two clouds and the SDK's own classes do not affect each other: nothing global is patched."""
    from scaleway_core.api import API

    before = (API._request, requests.request, requests.Session.request)
    one, two = harness(Reply(404)), harness(Reply(429))
    for far in (one, two, one):
        far.cloud.sweep(ZONE, 7)
    assert (len(one.adapter.asked), len(two.adapter.asked)) == (2, 4)
    assert before == (API._request, requests.request, requests.Session.request)
