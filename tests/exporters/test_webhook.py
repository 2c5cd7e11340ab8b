"""Webhooks on the wire: signed, to public addresses only, following nobody elsewhere."""

from __future__ import annotations

import ipaddress
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exporters.notify.deliver import Deliverer
from exporters.notify.settings import Settings, SettingsError, read_settings
from exporters.notify.webhook import is_public
from quotas.messages.routing import DeliveryResult

from .deliveries import a_delivery, a_message
from .receivers import HttpReceiver, http_server, slow_server

SECRET = "0123456789abcdef0123456789abcdef"
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
OPEN = Settings(webhook_secret=SECRET, webhook_allow=LOOPBACK, timeout_s=5)


@pytest.fixture
def hook() -> Iterator[HttpReceiver]:
    """A running HTTP server on loopback."""
    with http_server() as running:
        yield running


def to(hook: HttpReceiver, host: str = "127.0.0.1", **changes: Any) -> Any:
    """A parcel for it."""
    return a_delivery(recipient=f"http://{host}:{hook.port}/hook?a=b", **changes)


def test_a_webhook_is_signed_over_timestamp_and_body(hook: HttpReceiver) -> None:
    """openssl, which knows nothing of us, finds the signature that the header has."""
    assert Deliverer(OPEN)(to(hook)).outcome == "sent"
    ((path, headers, body),) = hook.requests
    assert path == "/hook?a=b" and headers["Host"] == f"127.0.0.1:{hook.port}"
    signed = headers["Cohortd-Timestamp"].encode() + b"." + body
    key = OPEN.secret_of("acme")
    command = ["openssl", "dgst", "-sha256", "-hmac", key, "-r"]
    digest = subprocess.run(command, input=signed, capture_output=True, check=True).stdout
    assert headers["Cohortd-Signature"] == "v1=" + digest.decode().split()[0]
    message = json.loads(body)["messages"][0]
    assert headers["Cohortd-Event"] == json.loads(body)["id"] == message["event"]
    assert (message["startup"], message["server"], message["deadline_s"]) == (
        "acme",
        "trainer",
        1800,
    )


def test_each_startup_has_a_secret_of_its_own() -> None:
    """One startup's secret verifies nothing of another's, nor shows the deployment's."""
    secrets = {OPEN.secret_of(name) for name in ("acme", "birch", "")}
    assert len(secrets) == 3 and SECRET not in repr(OPEN)
    assert a_delivery(a_message(audience="operator")).startup == ""


def test_a_webhook_sent_again_has_the_same_event(hook: HttpReceiver) -> None:
    """The receiver can tell a repetition, however late it comes."""
    delivery = to(hook)
    for each in (delivery, replace(delivery, attempts=2, claimed_s=500)):
        assert Deliverer(OPEN)(each).outcome == "sent"
    assert len({headers["Cohortd-Event"] for _, headers, _ in hook.requests}) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "127.1"])
def test_a_private_address_is_refused(hook: HttpReceiver, host: str) -> None:
    """Loopback, however it is written, is reached only where a setting names it."""
    closed = replace(OPEN, webhook_allow=())
    delivery_result = Deliverer(closed)(to(hook, host))
    assert (
        delivery_result.outcome == "refused" and "COHORTD_WEBHOOK_ALLOW" in delivery_result.detail
    )
    assert hook.requests == []


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("10.1.2.3", False),
        ("169.254.169.254", False),
        ("169.254.42.42", False),
        ("100.64.0.1", False),
        ("192.168.1.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::1", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b:1::1", False),
        ("::7f00:1", False),
        ("240.0.0.1", False),
        ("192.0.0.9", False),
        ("192.31.196.1", False),
        ("192.52.193.1", False),
        ("192.88.99.1", False),
        ("192.175.48.1", False),
        ("2001:3::1", False),
        ("2001:20::1", False),
        ("2620:4f:8000::1", False),
        ("3fff::1", False),
        ("fec0::1", False),
        ("5f00::1", False),
        ("51.15.0.1", True),
        ("64:ff9b::330f:1", True),
        ("2001:bc8::1", True),
        ("2001:4860::1", True),
    ],
)
def test_only_addresses_of_everybody_are_public(address: str, public: bool) -> None:
    """Private, link-local, shared, multicast, and those hidden inside IPv6, are not."""
    assert is_public(ipaddress.ip_address(address)) == public


def test_a_name_with_one_private_address_is_refused(
    hook: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every address of a name must be public, not only the first."""
    both = [(2, 1, 6, "", (ip, hook.port)) for ip in ("51.15.0.1", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    closed = replace(OPEN, webhook_allow=())
    delivery_result = Deliverer(closed)(a_delivery(recipient="https://two.example.com/"))
    assert delivery_result.outcome == "refused" and "127.0.0.1" in delivery_result.detail


def test_each_checked_address_of_a_name_is_tried(
    hook: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first address refuses the connection, and the second one takes the message once."""
    both = [(2, 1, 6, "", (ip, hook.port)) for ip in ("127.0.0.2", "127.0.0.1")]
    real = socket.getaddrinfo

    def two(host: str, *args: Any, **kwargs: Any) -> Any:
        return both if host == "two.example.com" else real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", two)
    assert Deliverer(OPEN)(to(hook, "two.example.com")).outcome == "sent"
    assert len(hook.requests) == 1


def test_many_addresses_share_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the deadline no further address is tried."""
    tried: list[str] = []

    def hanging(address: tuple[str, int], timeout_s: float) -> socket.socket:
        tried.append(address[0])
        time.sleep(0.7)
        raise TimeoutError("timed out")

    many = [(2, 1, 6, "", (f"127.0.0.{n}", 443)) for n in range(1, 9)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: many)
    monkeypatch.setattr(socket, "create_connection", hanging)
    result = Deliverer(replace(OPEN, total_s=1))(a_delivery(recipient="https://many.example.com/"))
    assert result.outcome == "retry" and "no end within 1 s" in result.detail
    assert tried == ["127.0.0.1", "127.0.0.2"]


def test_a_name_that_changes_its_mind_is_connected_where_it_was_checked(
    hook: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the name is asked once, and the checked address is connected to."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def rebinding(host: str, *args: Any, **kwargs: Any) -> Any:
        if host != "rebind.example.com":
            return real(host, *args, **kwargs)
        asked.append(host)
        assert len(asked) == 1, "the name was asked again after it was checked"
        return real("127.0.0.1", *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    assert Deliverer(OPEN)(to(hook, "rebind.example.com")).outcome == "sent"
    assert hook.requests[0][1]["Host"] == f"rebind.example.com:{hook.port}"


def test_tls_is_checked_against_the_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """At the checked address the certificate must be the name's, and of a known issuer."""
    key, certificate = str(tmp_path / "key"), str(tmp_path / "certificate")
    command = "openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -days 9 -subj /"
    name = ["-addext", "subjectAltName=DNS:hooks.example.com"]
    subprocess.run(
        [*command.split(), *name, "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *a, **k: real("127.0.0.1", *a, **k))
    with http_server(tls) as hook:

        def sent_to(host: str) -> DeliveryResult:
            return Deliverer(OPEN)(a_delivery(recipient=f"https://{host}:{hook.port}/"))

        assert "CERTIFICATE_VERIFY_FAILED" in sent_to("hooks.example.com").detail
        monkeypatch.setenv("SSL_CERT_FILE", certificate)
        assert "CERTIFICATE_VERIFY_FAILED" in sent_to("other.example.com").detail
        assert hook.requests == []
        assert sent_to("hooks.example.com").outcome == "sent"


def test_a_redirect_is_not_followed(hook: HttpReceiver) -> None:
    """Not to a private address, not anywhere: the second server hears nothing."""
    with http_server() as inner:
        hook.status, hook.location = 307, f"http://127.0.0.1:{inner.port}/secret"
        delivery_result = Deliverer(OPEN)(to(hook))
        assert delivery_result.outcome == "refused" and "redirect" in delivery_result.detail
        assert len(hook.requests) == 1 and inner.requests == []


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, "sent"),
        (204, "sent"),
        (400, "refused"),
        (410, "refused"),
        (429, "retry"),
        (500, "retry"),
        (503, "retry"),
    ],
)
def test_each_status_has_its_meaning(hook: HttpReceiver, status: int, outcome: str) -> None:
    """What may be mended by waiting is tried again; a plain refusal is not."""
    hook.status = status
    assert Deliverer(OPEN)(to(hook)).outcome == outcome


@pytest.mark.parametrize(
    ("scheme", "first"),
    [
        ("http", b"HTTP/1.1 2"),
        ("http", b"HTTP/1.1 200 OK\r\nX-Header: "),
        ("https", b"\x16\x03\x03\x3f\xff"),
    ],
    ids=["status", "headers", "handshake"],
)
def test_who_answers_for_ever_is_cut_at_the_deadline(scheme: str, first: bytes) -> None:
    """A byte now and then, each within the read timeout, holds no sending longer than its limit."""
    brief = replace(OPEN, total_s=1)
    with slow_server(first) as slow:
        delivery_result = Deliverer(brief)(
            a_delivery(recipient=f"{scheme}://127.0.0.1:{slow.port}/")
        )
        assert delivery_result.outcome == "retry" and "no end within 1 s" in delivery_result.detail
        assert slow.was_disconnected.wait(5), "its connection is closed, not left to a thread"


def test_a_body_without_end_is_not_waited_for() -> None:
    """The status was all that was asked: the message is taken at once."""
    with slow_server(b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n") as slow:
        delivery_result = Deliverer(OPEN)(a_delivery(recipient=f"http://127.0.0.1:{slow.port}/"))
        assert (delivery_result.outcome, delivery_result.detail) == ("sent", "status 200")
        assert slow.was_disconnected.wait(5)


def test_a_name_that_is_found_too_late_is_not_connected_to(
    hook: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time that a name server takes counts too: what then would be sent is cut."""
    real = socket.getaddrinfo

    def late(host: str, *args: Any, **kwargs: Any) -> Any:
        if host != "slow.example.com":
            return real(host, *args, **kwargs)
        for thread in threading.enumerate():
            if isinstance(thread, threading.Timer):
                thread.join(5)  # until the time is over
        return real("127.0.0.1", *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", late)
    delivery_result = Deliverer(replace(OPEN, total_s=1))(to(hook, "slow.example.com"))
    assert delivery_result.outcome == "retry" and "no end within 1 s" in delivery_result.detail
    assert hook.requests == []


def test_without_tls_only_named_networks_are_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """http:// to a public address is refused before anything is sent."""
    public = [(2, 1, 6, "", ("51.15.0.1", 80))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: public)
    delivery_result = Deliverer(OPEN)(a_delivery(recipient="http://hooks.example.com/x"))
    assert delivery_result.outcome == "refused" and "https://" in delivery_result.detail


def test_nothing_goes_out_unsigned(hook: HttpReceiver) -> None:
    """Without a secret the message waits, and says which setting is missing."""
    delivery_result = Deliverer(replace(OPEN, webhook_secret=""))(to(hook))
    assert delivery_result.outcome == "retry" and "COHORTD_WEBHOOK_SECRET" in delivery_result.detail
    assert hook.requests == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("COHORTD_SMTP_ENCRYPTION", "ssl3"),
        ("COHORTD_SMTP_PORT", "70000"),
        ("COHORTD_MAIL_FROM", "nobody"),
        ("COHORTD_WEBHOOK_SECRET", "short"),
        ("COHORTD_WEBHOOK_ALLOW", "10.0.0.0/99"),
    ],
)
def test_a_bad_setting_is_refused_by_name(name: str, value: str) -> None:
    """One sentence with the setting's name; a secret's value is not in it."""
    with pytest.raises(SettingsError, match=name) as refused:
        read_settings({name: value})
    assert name != "COHORTD_WEBHOOK_SECRET" or value not in str(refused.value)


def test_secrets_come_from_credentials_too(tmp_path: Any) -> None:
    """systemd's credentials are read where the environment has none."""
    (tmp_path / "webhook-secret").write_text(SECRET + "\n")
    (tmp_path / "smtp-password").write_text("pass word\n")
    settings = read_settings({"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert (settings.webhook_secret, settings.smtp_password) == (SECRET, "pass word")
    assert settings.smtp_port == 587 and "pass word" not in repr(settings)
