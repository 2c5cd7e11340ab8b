"""The HTTP client of cohortctl: one session; refusals carry the API's own sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import requests
from requests import PreparedRequest, Response, Session

from exporters.ctl.api import BAD_INPUT, REFUSED, UNREACHABLE, ApiError
from exporters.ctl.settings import Settings

CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 10, 20
"""A long poll adds its own wait to these."""
MAX_BYTES = 16_000_000
_BAD_INPUT, _RETRYABLE = {400, 413, 414, 422}, {408, 429}


class Client:
    """The API at one address, with one token."""

    def __init__(self, settings: Settings) -> None:
        self._url, self._token = settings.url, settings.token
        self._session = Session()
        self._session.auth = self._authorize  # or else requests would use a password from netrc

    def get(self, path: str, wait_s: int = 0, **query: str | int) -> Any:
        """The answer to a GET, read from JSON. Raises ApiError."""
        more = {"wait": wait_s} if wait_s else {}
        return _read(self._ask("GET", path, wait_s, params={**query, **more}))

    def text(self, path: str, **query: str) -> str:
        """The answer to a GET as it came. Raises ApiError."""
        return self._ask("GET", path, 0, params=query).text

    def post(self, path: str, body: Mapping[str, Any], key: str) -> Any:
        """The answer to a write. Raises ApiError."""
        return _read(self._ask("POST", path, 0, json=body, headers={"Idempotency-Key": key}))

    def delete(self, path: str, key: str) -> Any:
        """The answer to a write that withdraws something. Raises ApiError."""
        return _read(self._ask("DELETE", path, 0, headers={"Idempotency-Key": key}))

    def _ask(self, method: str, path: str, wait_s: int, **sent: Any) -> Response:
        try:
            answer = self._session.request(
                method,
                f"{self._url}/v1/{path}",
                timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S + wait_s),
                allow_redirects=False,
                **sent,
            )
        except requests.RequestException as error:
            raise ApiError(
                f"{self._url} cannot be reached: {_root_cause(error)}", UNREACHABLE
            ) from None
        if answer.status_code >= 300:
            raise _error_of(self._url, answer)
        return answer

    def _authorize(self, request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _root_cause(error: BaseException) -> str:
    """The innermost cause, which is the one that a person can fix."""
    if isinstance(error, requests.Timeout):
        return "it did not answer in time"
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return str(error) or type(error).__name__


def _read(answer: Response) -> Any:
    try:
        return json.loads(answer.content[:MAX_BYTES])
    except ValueError:
        detail = f"{answer.url} answered what is not JSON: is it cohortd's API?"
        raise ApiError(detail, UNREACHABLE) from None


def _error_of(url: str, answer: Response) -> ApiError:
    status = answer.status_code
    code = BAD_INPUT if status in _BAD_INPUT else REFUSED
    if status >= 500 or status in _RETRYABLE:
        code = UNREACHABLE
    try:
        detail = json.loads(answer.content[:MAX_BYTES])["detail"]
    except (ValueError, KeyError, TypeError):
        detail = f"{url} answered {status} without a reason: is it cohortd's API?"
        code = UNREACHABLE
    return ApiError(str(detail), code)
