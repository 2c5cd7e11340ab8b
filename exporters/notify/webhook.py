"""Webhooks: a signed POST to public addresses only.

The name is resolved here, each of its addresses is checked, and the checked addresses are tried
in turn: a name that resolves differently a moment later changes nothing. No redirect is followed,
the body of the answer is not read, every step has a timeout, and the whole delivery has a
deadline.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import socket
import ssl
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from urllib.parse import SplitResult, urlsplit

from urllib3.util import parse_url

from exporters.notify.deadline import Deadline
from exporters.notify.settings import Settings
from quotas.messages.routing import Delivery, DeliveryResult, as_json

RETRYABLE_STATUSES = frozenset({408, 425, 429})
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


_IPV6_UNICAST = ipaddress.ip_network("2000::/3")
_RESERVED = tuple(
    map(
        ipaddress.ip_network,
        (
            *("192.0.0.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24"),
            *("192.175.48.0/24", "2001::/23", "2620:4f:8000::/48", "3fff::/20"),
        ),
    )
)
"""Ranges of protocols, relays and documents (RFC 6890), which Python partly calls global."""


class ForbiddenAddress(Exception):
    """An address that webhooks may not reach: one sentence with it."""


def signature(secret: str, at_s: int, body: bytes) -> str:
    """HMAC-SHA256 over timestamp, a dot and the body, in hexadecimal digits."""
    signed = str(at_s).encode() + b"." + body
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def send_webhook(delivery: Delivery, settings: Settings) -> DeliveryResult:
    """POST the delivery: 2xx is success, a plain 4xx is a refusal, anything else is retried."""
    if not settings.webhook_secret:
        return DeliveryResult(
            "retry", "COHORTD_WEBHOOK_SECRET is not set: nothing goes out unsigned"
        )
    url = urlsplit(delivery.recipient)
    body = json.dumps(as_json(delivery), sort_keys=True, ensure_ascii=False).encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "cohortd",
        "Host": url.netloc,
        "Cohortd-Event": delivery.batch,
        "Cohortd-Timestamp": str(delivery.claimed_s),
        "Cohortd-Signature": "v1="
        + signature(settings.secret_of(delivery.startup), delivery.claimed_s, body),
    }
    try:
        with Deadline(settings.total_s) as deadline:
            sock = _connected(url, settings, deadline)
            status = _post(url, sock, body, headers)
    except ForbiddenAddress as error:
        return DeliveryResult("refused", str(error))
    except OSError as error:
        return DeliveryResult("retry", f"{type(error).__name__}: {error}")
    except (HTTPException, ValueError) as error:
        # Its text may quote the path of the URL, which is a secret.
        return DeliveryResult("retry", type(error).__name__)
    if 200 <= status < 300:
        return DeliveryResult("sent", f"status {status}")
    if 300 <= status < 400:
        return DeliveryResult(
            "refused", f"status {status}: redirects are not followed; name its target"
        )
    again = status >= 500 or status in RETRYABLE_STATUSES
    return DeliveryResult("retry" if again else "refused", f"status {status}")


def _connected(url: SplitResult, settings: Settings, deadline: Deadline) -> socket.socket:
    """A connection to the first checked address that answers. Raises OSError."""
    failure = OSError("the name has no address")
    for address in resolve(url, settings):
        try:
            return deadline.connect(address, _port(url), settings.timeout_s)
        except OSError as error:
            failure = error
    raise failure


def resolve(url: SplitResult, settings: Settings) -> list[str]:
    """The addresses of the name, in order. Raises ForbiddenAddress unless all are allowed."""
    host = url.hostname or ""
    found = socket.getaddrinfo(host, _port(url), type=socket.SOCK_STREAM)
    addresses = [ipaddress.ip_address(str(row[4][0]).partition("%")[0]) for row in found]
    for address in addresses:
        allowed = _is_allowed(address, settings)
        if not allowed and not is_public(address):
            raise ForbiddenAddress(
                f"{host} is {address}, which is no public address; COHORTD_WEBHOOK_ALLOW may "
                "name its network"
            )
        if not allowed and url.scheme != "https":
            raise ForbiddenAddress(f"{host} is reached without TLS; write https://")
    return [str(address) for address in dict.fromkeys(addresses)]


def is_public(address: Address) -> bool:
    """Whether an address is public; an embedded address counts as itself."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or _nat64(address)
        if inner is not None:
            return is_public(inner)
        if address not in _IPV6_UNICAST:
            return False
    if any(address.version == each.version and address in each for each in _RESERVED):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _nat64(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address in ipaddress.ip_network("64:ff9b::/96"):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _is_allowed(address: Address, settings: Settings) -> bool:
    return any(
        address.version == network.version and address in network
        for network in settings.webhook_allow
    )


def _port(url: SplitResult) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


def _post(url: SplitResult, sock: socket.socket, body: bytes, headers: dict[str, str]) -> int:
    """The status of one POST over a connection to the checked address."""
    if url.scheme == "https":
        sock = ssl.create_default_context().wrap_socket(sock, server_hostname=url.hostname)
    with closing(HTTPConnection(url.netloc)) as connection:
        connection.sock = sock
        connection.request("POST", parse_url(url.geturl()).request_uri, body, headers)
        # The status is enough: a peer that sends an endless body is not read.
        with connection.getresponse() as answer:
            return answer.status
