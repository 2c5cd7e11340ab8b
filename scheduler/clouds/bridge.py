"""The bridge that puts our transport under one SDK object, and under no other."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any, TypeVar

import requests
from scaleway import Client  # type: ignore[import-untyped]  # ships no py.typed
from scaleway_core.api import API

from scheduler.clouds.replies import Reply
from scheduler.clouds.transport import Deadline, Request, Transport

SdkApi = TypeVar("SdkApi", bound=API)


class Exchange:
    """Replaces the HTTP call of one SDK request, and keeps the raw answer."""

    def __init__(
        self, client: Client, transport: Transport, operation: str, deadline: Deadline
    ) -> None:
        """An exchange serves one request of one SDK object."""
        self._client = client
        self._transport = transport
        self._operation = operation
        self._deadline = deadline
        self._answer: Reply | None = None

    @property
    def answer(self) -> Reply:
        """The raw answer of the request that the SDK has made."""
        assert self._answer is not None, "the SDK makes its request before it returns"
        return self._answer

    def request(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] = {},
        headers: Mapping[str, str] = {},
        body: object = None,
    ) -> requests.Response:
        """Send one request; the SDK calls this as `_request`. Raises CloudError."""
        sent = Request(
            operation=self._operation,
            method=method.upper(),
            url=f"{self._client.api_url}{path}",
            params=[(key, str(value)) for key, value in params.items() if value is not None],
            headers={
                "accept": "application/json",
                "content-type": "application/json; charset=utf-8",
                "user-agent": self._client.user_agent,
                "x-auth-token": self._client.secret_key,
                **headers,
            },
            body=None if body is None else json.dumps(body),
        )
        self._answer = self._transport.send(sent, self._deadline)
        return _nothing_to_read()


def _nothing_to_read() -> requests.Response:
    """An empty object for the SDK. It would read gaps as defaults, so `parse` reads instead."""
    response = requests.Response()
    response.status_code = 200
    response.raw = io.BytesIO(b"{}")
    return response


def attach_exchange(api: SdkApi, exchange: Exchange) -> SdkApi:
    """Put our HTTP call under this SDK object; no class or module is changed."""
    api._request = exchange.request  # type: ignore[method-assign]  # on this object only
    return api
