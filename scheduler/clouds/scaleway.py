"""Reads and stops servers at Scaleway, through the official SDK.

The SDK knows paths, parameters and bodies. `transport` replaces its HTTP call, and `parse` replaces
its tolerant reading of answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from requests.adapters import BaseAdapter, HTTPAdapter
from scaleway import Client  # type: ignore[import-untyped]  # ships no py.typed
from scaleway.account.v3 import (  # type: ignore[import-untyped]  # the same
    AccountV3ProjectAPI,
    ListProjectsRequestOrderBy,
)
from scaleway.instance.v1 import (  # type: ignore[import-untyped]  # the same
    InstanceV1API,
    ListServersRequestOrder,
    ServerAction,
)

from quotas.model.observation import Complete, Offer, Partial, Server, Sweep, Unknown
from scheduler import clock
from scheduler.clouds.base import CloudError, Malformed, Project
from scheduler.clouds.bridge import Exchange, attach_exchange
from scheduler.clouds.pages import Page, check_edges, collect
from scheduler.clouds.parse import (
    check_task,
    checked_uuid,
    checked_zone,
    offers_page,
    one_server,
    projects_page,
    servers_page,
    stock_page,
)
from scheduler.clouds.replies import Reply
from scheduler.clouds.transport import Deadline, Limits, OnRequest, Transport

API_URL = "https://api.scaleway.com"
SERVERS_PER_PAGE = 100
OFFERS_PER_PAGE = 50
PROJECTS_PER_PAGE = 100
DEFAULT_LIMITS = Limits()

_ACCESS_KEY = re.compile(r"SCW[A-Z0-9]{17}", re.IGNORECASE)
_URL = re.compile(r"https?://[^\s/@?#]+(/[^\s@?#]*)?", re.IGNORECASE)


class ScalewayCloud:
    """A Scaleway organization: implements `Cloud`. Safe to share between threads."""

    def __init__(self, client: Client, transport: Transport, limits: Limits) -> None:
        """Use `connect`, which checks its arguments."""
        self._client = client
        self._transport = transport
        self._limits = limits
        self._organization_id: str = client.default_organization_id

    @classmethod
    def connect(
        cls,
        *,
        access_key: str,
        secret_key: str,
        organization_id: str,
        api_url: str | None = None,
        on_request: OnRequest | None = None,
        monotonic: Callable[[], float] = clock.monotonic,
        sleep: Callable[[float], None] = clock.pause,
        limits: Limits = DEFAULT_LIMITS,
        adapter: Callable[[], BaseAdapter] = HTTPAdapter,
    ) -> ScalewayCloud:
        """Prepare a client; nothing is sent yet. Raises ValueError, never quoting a key."""
        client = client_of(
            access_key=access_key,
            secret_key=secret_key,
            organization_id=organization_id,
            api_url=api_url,
        )
        transport = Transport(
            limits=limits,
            monotonic=monotonic,
            sleep=sleep,
            on_request=on_request,
            adapter=adapter,
        )
        return cls(client, transport, limits)

    def __repr__(self) -> str:
        """Name the organization and the API, and no key."""
        return f"ScalewayCloud({self._organization_id} at {self._client.api_url})"

    @property
    def call_budget_s(self) -> float:
        """The longest time of a reading call."""
        return self._limits.call_s + self._limits.connect_s + self._limits.read_s

    @property
    def action_budget_s(self) -> float:
        """The longest time of an action. `act` needs this much of its lease left."""
        return self._limits.action_s + self._limits.read_s

    def sweep(self, zone: str, at_s: int) -> Sweep:
        """Read every server of a zone; answer Partial or Unknown if that fails.

        Raises only ValueError, for a text that is not a zone.
        """
        checked_zone(zone)
        seen: dict[str, Server] = {}
        try:
            self._read_servers(zone, seen)
        except CloudError as failure:
            cause, detail = failure.cause, str(failure)
            if seen:
                return Partial(zone, at_s, tuple(seen.values()), cause, detail)
            return Unknown(zone, at_s, cause, detail)
        return Complete(zone, at_s, tuple(seen.values()))

    def _read_servers(self, zone: str, seen: dict[str, Server]) -> None:
        deadline = self._transport.deadline(self._limits.call_s)

        def page(number: int, per_page: int = SERVERS_PER_PAGE) -> Page[Server]:
            return self._servers_page(zone, number, per_page, deadline)

        collect(page, SERVERS_PER_PAGE, self._limits.pages, seen)
        check_edges(page, SERVERS_PER_PAGE, seen)

    def _servers_page(
        self, zone: str, number: int, per_page: int, deadline: Deadline
    ) -> Page[Server]:
        exchange = self._exchange("list_servers", deadline)
        self._instance(exchange).list_servers(
            zone=zone,
            page=number,
            per_page=per_page,
            order=ListServersRequestOrder.CREATION_DATE_ASC,
        )
        return servers_page(require_ok(exchange.answer), zone, self._organization_id)

    def offers(self, zone: str) -> tuple[Offer, ...]:
        """Every offer of the zone, by type. Raises CloudError; ValueError for an invalid zone."""
        checked_zone(zone)
        deadline = self._transport.deadline(self._limits.call_s)

        def page(number: int) -> Page[Offer]:
            exchange = self._exchange("list_servers_types", deadline)
            self._instance(exchange).list_servers_types(
                zone=zone, page=number, per_page=OFFERS_PER_PAGE
            )
            return offers_page(require_ok(exchange.answer), zone)

        found: dict[str, Offer] = {}
        collect(page, OFFERS_PER_PAGE, self._limits.pages, found)
        return tuple(found[name] for name in sorted(found))

    def stock(self, zone: str) -> dict[str, str]:
        """The stock of each type, in the zone's words. Raises CloudError, ValueError."""
        checked_zone(zone)
        deadline = self._transport.deadline(self._limits.call_s)

        def page(number: int) -> Page[str]:
            exchange = self._exchange("get_server_types_availability", deadline)
            self._instance(exchange).get_server_types_availability(
                zone=zone, page=number, per_page=OFFERS_PER_PAGE
            )
            return stock_page(require_ok(exchange.answer))

        found: dict[str, str] = {}
        collect(page, OFFERS_PER_PAGE, self._limits.pages, found)
        return found

    def projects(self) -> tuple[Project, ...]:
        """All projects of the organization, by name. Raises CloudError."""
        deadline = self._transport.deadline(self._limits.call_s)

        def page(number: int) -> Page[Project]:
            exchange = self._exchange("list_projects", deadline)
            api = attach_exchange(AccountV3ProjectAPI(self._client), exchange)
            api.list_projects(
                page=number,
                page_size=PROJECTS_PER_PAGE,
                order_by=ListProjectsRequestOrderBy.CREATED_AT_ASC,
            )
            return projects_page(require_ok(exchange.answer), self._organization_id)

        found: dict[str, Project] = {}
        collect(page, PROJECTS_PER_PAGE, self._limits.pages, found)
        return tuple(sorted(found.values(), key=lambda project: (project.name, project.id)))

    def server(self, zone: str, server_id: str) -> Server:
        """One server now. Raises CloudError; ValueError for an invalid zone or UUID."""
        checked_zone(zone)
        checked_uuid(server_id)
        exchange = self._exchange("get_server", self._transport.deadline(self._limits.call_s))
        self._instance(exchange).get_server(zone=zone, server_id=server_id)
        return one_server(require_ok(exchange.answer), zone, server_id, self._organization_id)

    def power_off(self, zone: str, server_id: str) -> None:
        """Ask once for poweroff, without retry. Raises CloudError, ValueError."""
        self._act(zone, server_id, ServerAction.POWEROFF)

    def power_on(self, zone: str, server_id: str) -> None:
        """Ask once for poweron, without retry. Raises CloudError, ValueError."""
        self._act(zone, server_id, ServerAction.POWERON)

    def _act(self, zone: str, server_id: str, action: ServerAction) -> None:
        checked_zone(zone)
        checked_uuid(server_id)
        deadline = self._transport.deadline(self._limits.action_s)
        exchange = self._exchange(f"server_{action}", deadline)
        self._instance(exchange).server_action(zone=zone, server_id=server_id, action=action)
        check_task(exchange.answer)

    def _exchange(self, operation: str, deadline: Deadline) -> Exchange:
        return Exchange(self._client, self._transport, operation, deadline)

    def _instance(self, exchange: Exchange) -> Any:
        return attach_exchange(InstanceV1API(self._client), exchange)


def client_of(
    *, access_key: str, secret_key: str, organization_id: str, api_url: str | None
) -> Client:
    """The SDK's client for one key. Raises ValueError, never quoting a key."""
    url = (api_url or API_URL).rstrip("/")
    _check_settings(access_key, secret_key, url)
    # No default project, because the SDK would filter every listing by it.
    return Client(
        access_key=access_key,
        secret_key=secret_key,
        default_organization_id=checked_uuid(organization_id).lower(),
        api_url=url,
    )


def require_ok(answer: Reply) -> Reply:
    """The answer of a reading call, if its status is 200. Raises Malformed."""
    if answer.status != 200:
        raise Malformed(f"HTTP {answer.status} instead of 200")
    return answer


def _check_settings(access_key: str, secret_key: str, url: str) -> None:
    """Check before the SDK does, because its errors quote the keys. Raises ValueError."""
    if not _ACCESS_KEY.fullmatch(access_key):
        raise ValueError("the access key is not SCW and 17 letters or digits")
    if not _URL.fullmatch(url):
        raise ValueError("the API's URL is not http(s)://HOST[:PORT][/PREFIX]")
    try:
        checked_uuid(secret_key)
    except ValueError:
        problem = "the secret key is not a UUID"
    else:
        return
    # Raised outside the handler, because a chained error would quote the key.
    raise ValueError(problem)
