"""Reads and stops servers at Scaleway, through the official SDK.

The SDK knows paths, parameters and bodies. `transport` replaces its HTTP call, and `parse` replaces
its tolerant reading of answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

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
from scheduler.clouds.base import CloudError, Project
from scheduler.clouds.bridge import Item, Sdk
from scheduler.clouds.pages import Page
from scheduler.clouds.parse import (
    UUID,
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
from scheduler.clouds.transport import Limits, OnRequest, Transport

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
        self._instance = Sdk(InstanceV1API, client, transport, limits)
        self._account = Sdk(AccountV3ProjectAPI, client, transport, limits)
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
            limits=limits, monotonic=monotonic, sleep=sleep, on_request=on_request, adapter=adapter
        )
        return cls(client, transport, limits)

    def __repr__(self) -> str:
        """Name the organization and the API, and no key."""
        return f"ScalewayCloud({self._organization_id} at {self._instance.client.api_url})"

    def sweep(self, zone: str, at_s: int) -> Sweep:
        """Read every server of a zone; answer Partial or Unknown if that fails.

        Raises only ValueError, for a text that is not a zone.
        """
        checked_zone(zone)
        seen: dict[str, Server] = {}
        parse = partial(servers_page, zone=zone, organization_id=self._organization_id)
        order = ListServersRequestOrder.CREATION_DATE_ASC
        try:
            self._instance.read_pages(
                "list_servers", parse, SERVERS_PER_PAGE, into=seen, zone=zone, order=order
            )
        except CloudError as failure:
            cause, detail = failure.cause, str(failure)
            if seen:
                return Partial(zone, at_s, tuple(seen.values()), cause, detail)
            return Unknown(zone, at_s, cause, detail)
        return Complete(zone, at_s, tuple(seen.values()))

    def offers(self, zone: str) -> tuple[Offer, ...]:
        """Every offer of the zone, by type. Raises CloudError; ValueError for an invalid zone."""
        parse = partial(offers_page, zone=checked_zone(zone))
        found = self._catalogue("list_servers_types", parse, zone)
        return tuple(found[name] for name in sorted(found))

    def stock(self, zone: str) -> dict[str, str]:
        """The stock of each type, in the zone's words. Raises CloudError, ValueError."""
        return self._catalogue("get_server_types_availability", stock_page, checked_zone(zone))

    def _catalogue(
        self, method: str, parse: Callable[[Reply], Page[Item]], zone: str
    ) -> dict[str, Item]:
        """A listing by type. Types do not move between pages as servers do."""
        return self._instance.read_pages(
            method, parse, OFFERS_PER_PAGE, checks_edges=False, zone=zone
        )

    def projects(self) -> tuple[Project, ...]:
        """All projects of the organization, by name. Raises CloudError."""
        parse = partial(projects_page, organization_id=self._organization_id)
        order = ListProjectsRequestOrderBy.CREATED_AT_ASC
        found = self._account.read_pages(
            "list_projects", parse, PROJECTS_PER_PAGE, checks_edges=False, order_by=order
        )
        return tuple(sorted(found.values(), key=lambda project: (project.name, project.id)))

    def server(self, zone: str, server_id: str) -> Server:
        """One server now. Raises CloudError; ValueError for an invalid zone or UUID."""
        target = {"zone": checked_zone(zone), "server_id": checked_uuid(server_id)}
        answer = self._instance.read("get_server", **target)
        return one_server(answer, zone, server_id, self._organization_id)

    def power_off(self, zone: str, server_id: str) -> None:
        """Ask once for poweroff, without retry. Raises CloudError, ValueError."""
        self._act(zone, server_id, ServerAction.POWEROFF)

    def power_on(self, zone: str, server_id: str) -> None:
        """Ask once for poweron, without retry. Raises CloudError, ValueError."""
        self._act(zone, server_id, ServerAction.POWERON)

    def _act(self, zone: str, server_id: str, action: ServerAction) -> None:
        target = {"zone": checked_zone(zone), "server_id": checked_uuid(server_id)}
        answer = self._instance.change(
            "server_action", label=f"server_{action}", status=202, action=action, **target
        )
        check_task(answer)


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


def _check_settings(access_key: str, secret_key: str, url: str) -> None:
    """Check before the SDK does, because its errors quote the keys. Raises ValueError."""
    for pattern, text, problem in (
        (_ACCESS_KEY, access_key, "the access key is not SCW and 17 letters or digits"),
        (_URL, url, "the API's URL is not http(s)://HOST[:PORT][/PREFIX]"),
        (UUID, secret_key, "the secret key is not a UUID"),
    ):
        if not pattern.fullmatch(text):
            raise ValueError(problem)
