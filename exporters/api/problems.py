"""Refusals as RFC 9457 problem details whose text says what to do."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

MEDIA_TYPE = "application/problem+json"
_ROUTING_DETAILS = {
    404: "There is nothing at this address: /v1/openapi.json lists what there is.",
    405: "This address does not take that method: /v1/openapi.json lists which it takes.",
}


class FieldError(BaseModel):
    """One invalid field."""

    field: str = Field(examples=["body.gpus"])
    message: str = Field(examples=["Input should be greater than 0"])


class ProblemBody(BaseModel):
    """Problem details (RFC 9457): `detail` says what to do, `type` is stable."""

    type: str = Field(examples=["urn:cohortd:problem:token-expired"])
    title: str = Field(examples=["Unauthorized"])
    status: int = Field(examples=[401])
    detail: str = Field(examples=["The token expired: ask the operator to rotate it."])
    errors: list[FieldError] | None = None


class Problem(Exception):
    """A refusal on its way to the client. Its `kind` is stable."""

    def __init__(
        self, status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail = status, kind, detail
        self.headers = dict(headers or {})

    def response(self, **more: object) -> Response:
        """The refusal as a problem document, with more fields if there are any."""
        body = {
            "type": f"urn:cohortd:problem:{self.kind}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            **more,
        }
        return JSONResponse(body, self.status, self.headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Turn every refusal of this application into a problem document."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)


async def _on_problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


async def _on_invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [_field_error(each) for each in error.errors()[:10]]
    first = errors[0]
    detail = f"{first['field']}: {first['message']}. Mend it and send it again; nothing changed."
    malformed = any(each["type"] == "json_invalid" for each in error.errors())
    status, kind = (400, "malformed-json") if malformed else (422, "invalid")
    return Problem(status, kind, detail).response(errors=errors)


def _field_error(error: Mapping[str, Any]) -> dict[str, str]:
    field = ".".join(str(part) for part in error["loc"])[:200]
    message = "Unknown field, leave it out" if error["type"] == "extra_forbidden" else error["msg"]
    return {"field": field, "message": str(message)}


async def _on_http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = _ROUTING_DETAILS.get(error.status_code, str(error.detail))
    kind = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
    return Problem(error.status_code, kind, detail, error.headers).response()
