"""Calls of the official SDK, sent by our transport and read by our parsers.

The transport is put under one SDK object at a time; no class or module of the SDK is changed.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import requests
from scaleway import Client  # type: ignore[import-untyped]  # ships no py.typed
from scaleway.instance.v1 import InstanceV1API  # type: ignore[import-untyped]  # the same

from scheduler.clouds.base import Malformed
from scheduler.clouds.pages import Page, check_edges, collect
from scheduler.clouds.replies import Reply
from scheduler.clouds.transport import Deadline, Limits, Request, Transport

Item = TypeVar("Item")


class Sdk:
    """One API of the SDK with one client's key. Safe to share between threads."""

    def __init__(
        self, api: type[Any], client: Client, transport: Transport, limits: Limits
    ) -> None:
        """Send the calls of this client to this API through this transport."""
        self._api = api
        self.client = client
        self._transport = transport
        self._limits = limits

    def deadline(self) -> Deadline:
        """The deadline of a reading call that begins now, with all its pages."""
        return self._transport.deadline(self._limits.call_s)

    def change(self, method: str, *, label: str = "", status: int = 200, **arguments: Any) -> Reply:
        """The answer of a call that changes something: one attempt. Raises CloudError."""
        deadline = self._transport.deadline(self._limits.action_s)
        return self._call(method, arguments, deadline, label, status)

    def read(self, method: str, **arguments: Any) -> Reply:
        """The answer of a call that reads one thing. Raises CloudError."""
        return self._call(method, arguments, self.deadline())

    def read_pages(
        self,
        method: str,
        parse: Callable[[Reply], Page[Item]],
        per_page: int,
        *,
        checks_edges: bool = True,
        deadline: Deadline | None = None,
        into: dict[str, Item] | None = None,
        **arguments: Any,
    ) -> dict[str, Item]:
        """Every item of a listing by name, in the order of its pages. Raises CloudError.

        A caller that passes `into` still has the items read before a failure.
        """
        found = {} if into is None else into
        ends = deadline or self.deadline()
        size_name = "per_page" if self._api is InstanceV1API else "page_size"

        def fetch(number: int, size: int = per_page) -> Page[Item]:
            sent = {"page": number, size_name: size, **arguments}
            return parse(self._call(method, sent, ends))

        collect(fetch, per_page, self._limits.pages, found)
        if checks_edges:
            check_edges(fetch, per_page, found)
        return found

    def _call(
        self,
        method: str,
        sent: Mapping[str, Any],
        ends: Deadline,
        label: str = "",
        status: int = 200,
    ) -> Reply:
        """The raw answer of one call. Raises Malformed for another status."""
        answers: list[Reply] = []

        def send(
            verb: str,
            path: str,
            params: Mapping[str, Any] = {},
            headers: Mapping[str, str] = {},
            body: object = None,
        ) -> requests.Response:
            request = Request(
                operation=label or method,
                method=verb.upper(),
                url=f"{self.client.api_url}{path}",
                params=[(key, str(value)) for key, value in params.items() if value is not None],
                headers={
                    "accept": "application/json",
                    "content-type": "application/json; charset=utf-8",
                    "user-agent": self.client.user_agent,
                    "x-auth-token": self.client.secret_key,
                    **headers,
                },
                body=None if body is None else json.dumps(body),
            )
            answers.append(self._transport.send(request, ends))
            return _nothing_to_read()

        sdk_object = self._api(self.client)
        sdk_object._request = send
        getattr(sdk_object, method)(**sent)
        if answers[0].status != status:
            raise Malformed(f"HTTP {answers[0].status} instead of {status}")
        return answers[0]


def _nothing_to_read() -> requests.Response:
    """An empty object for the SDK. It would read gaps as defaults, so `parse` reads instead."""
    response = requests.Response()
    response.status_code = 200
    response.raw = io.BytesIO(b"{}")
    return response
