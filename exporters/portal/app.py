"""The routes of the portal: the page, the part that refreshes, and a form for each write."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2_fragments import render_block
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.convertors import IntegerConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from exporters.api.access import Access, Viewer, address_of
from exporters.api.problems import Problem
from exporters.api.read_model import ReadModel
from exporters.api.routers.writes import NewRequest, enqueue, write_result
from exporters.portal import i18n as languages
from exporters.portal.i18n import Translator, language
from exporters.portal.page import SNOOZE_CHOICES_S, live_context, new_key, page_context
from exporters.portal.sessions import (
    PATH,
    SESSION_MAX_AGE_S,
    Session,
    Sessions,
    set_cookie,
    signing_key,
)
from quotas.book.inbox import Inbox
from quotas.ledger.statements import month_s
from quotas.model.tokens import fingerprint

SIGN_IN = f"{PATH}/sign-in"
YEAR_S = 365 * 86_400
STATEMENT_LINES_SHOWN = 200
"""The number of statement lines that a page shows, the newest ones; the API has them all."""
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    # With no-referrer a browser would send "Origin: null" with our own forms.
    "Referrer-Policy": "same-origin",
    "Vary": "Cookie, Accept-Language",
}


class Number(IntegerConvertor):
    """The number of a row in an address; starlette's own accepts digits that int() refuses."""

    regex = "[0-9]{1,18}"


register_url_convertor("number", Number())


@dataclass(frozen=True)
class PortalServices:
    """The services that the handlers share."""

    read_model: ReadModel
    access: Access
    sessions: Sessions
    templates: Environment
    inbox: Inbox


@dataclass(frozen=True)
class Visit:
    """A request of a signed-in browser."""

    request: Request
    services: PortalServices
    session: Session
    viewer: Viewer
    translator: Translator

    @property
    def number(self) -> int:
        """The number of the row that the address names."""
        number: int = self.request.path_params["number"]
        return number

    def render(self, template: str, context: Mapping[str, Any], status: int = 200) -> Response:
        """A page of this session."""
        base = _base_context(self.request, self.translator, self.session)
        text = self.services.templates.get_template(template).render({**base, **context})
        return _remember_language(self.request, HTMLResponse(text, status, HEADERS))

    async def form(self) -> tuple[dict[str, str], str]:
        """A form's fields and its key. Raises Problem."""
        fields = await self.services.sessions.form(self.request, self.session)
        self.services.access.admit(self.viewer.token, "POST", "request")
        key = fields.pop("key", "")
        if len(key) != len(new_key()) or not key.isascii() or not key.isalnum():
            raise Problem(403, "form", "This form has no key: open the page again.")
        return fields, f"portal-{key}"

    async def enqueue(self, key: str, kind: str, body: dict[str, Any]) -> Response:
        """Put a write in the inbox, and go to its page."""
        enqueued = await enqueue(self.request, self.viewer.token, key, kind, body)
        return _redirect(f"{PATH}/writes/{enqueued.id}")


Handler = Callable[[Request], Awaitable[Response]]


def build_portal(state: Path, read_model: ReadModel, access: Access, inbox: Inbox) -> Starlette:
    """The portal over the same read model, rate limits and inbox as the API."""
    templates = Environment(
        loader=PackageLoader("exporters.portal"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    app = Starlette(
        routes=[
            Route("/", signed_in(page)),
            Route("/now", signed_in(now)),
            Route("/sign-in", sign_in_form, methods=["GET"]),
            Route("/sign-in", sign_in, methods=["POST"]),
            Route("/sign-out", signed_in(sign_out), methods=["POST"]),
            Route("/requests", signed_in(request_gpus), methods=["POST"]),
            Route("/requests/{number:number}/withdraw", signed_in(withdraw), methods=["POST"]),
            Route("/notices/{number:number}/acknowledge", signed_in(acknowledge), methods=["POST"]),
            Route("/notices/{number:number}/snooze", signed_in(snooze), methods=["POST"]),
            Route("/writes/{id}", signed_in(write)),
            Route("/statements/{month}", signed_in(statement)),
            Mount("/static", StaticFiles(packages=[("exporters.portal", "static")])),
        ],
        exception_handlers={Problem: on_problem, HTTPException: on_http_error},
    )
    app.state.read_model, app.state.inbox = read_model, inbox
    sessions = Sessions(signing_key(state))
    app.state.services = PortalServices(read_model, access, sessions, templates, inbox)
    return app


def signed_in(handler: Callable[[Visit], Awaitable[Response]]) -> Handler:
    """Admit a request whose token is valid now, with the reads of that startup only."""

    async def authenticated(request: Request) -> Response:
        services: PortalServices = request.app.state.services
        now_s = services.read_model.now_s()
        session = services.sessions.read(request, now_s)
        if session is None or not session.token_hash or _has_ended(services.inbox, session):
            raise Problem(401, "session-ended", "Sign in first.")
        token = services.read_model.token(session.token_hash)
        if token is None or token.state(now_s) != "active":
            raise Problem(401, "token-ended", "The token of this session is no longer in force.")
        services.access.admit(token, request.method, "read")
        viewer = Viewer(token, await services.read_model.latest(), services.read_model)
        if handler not in (statement, sign_out):
            viewer.check_member()
        translator = Translator(language(request), viewer.cached.program_status.program.timezone)
        return await handler(Visit(request, services, session, viewer, translator))

    return authenticated


async def page(
    visit: Visit, status: int = 200, form_values: Mapping[str, str] | None = None
) -> Response:
    """The whole page of a founder. `form_values` are the fields of a refused form."""
    found = page_context(visit.viewer, visit.translator, form_values or {})
    return visit.render("page.html", found, status)


async def now(visit: Visit) -> Response:
    """The part of the page that refreshes."""
    context = _base_context(visit.request, visit.translator)
    context |= live_context(visit.viewer, visit.translator)
    text = render_block(visit.services.templates, "page.html", "now", **context)
    return HTMLResponse(text, headers=HEADERS)


async def sign_in_form(request: Request) -> Response:
    """The form for a token."""
    return _sign_in_page(request, request.query_params.get("reason", ""))


async def sign_in(request: Request) -> Response:
    """Exchange a token for a session."""
    services: PortalServices = request.app.state.services
    now_s = services.read_model.now_s()
    session = services.sessions.read(request, now_s)
    try:
        fields = await services.sessions.form(request, session)
        text = fields.get("token", "").strip()
        token = services.access.bearer(f"Bearer {text}", address_of(request))
        services.access.admit(token, request.method, "read")
    except Problem as problem:
        return _sign_in_page(request, problem.kind, problem.status)
    ends_s = min(now_s + SESSION_MAX_AGE_S, token.expires_s)
    response = _redirect(f"{PATH}/")
    fresh = services.sessions.new_session(fingerprint(text) or "", ends_s)
    services.sessions.write(response, fresh, request, now_s)
    return response


async def sign_out(visit: Visit) -> Response:
    """End the session on the server, so that a copy of its cookie opens nothing either."""
    services, session = visit.services, visit.session
    await services.sessions.form(visit.request, session)
    try:
        services.inbox.end_session(session.nonce, session.ends_s, services.read_model.now_s())
    except sqlite3.Error:
        raise _inbox_problem() from None
    response = _redirect(f"{SIGN_IN}?reason=signed-out")
    _clear_session(response, visit.request)
    return response


async def request_gpus(visit: Visit) -> Response:
    """Ask for GPUs; an invalid form comes back with its values and a hint."""
    fields, key = await visit.form()
    try:
        texts = {name: fields.get(name, "") for name in ("pool", "reason", "refused_for")}
        length = fields.get("length", "") + fields.get("unit", "")
        form_values = {**texts, "gpus": int(fields.get("gpus", "")), "duration": length}
        body = NewRequest.model_validate(form_values).submitted()
    except (ValidationError, ValueError, Problem):
        return await page(visit, 422, fields)
    return await visit.enqueue(key, "request.open", body)


async def withdraw(visit: Visit) -> Response:
    """Withdraw a request."""
    _, key = await visit.form()
    return await visit.enqueue(key, "request.withdraw", {"request": visit.number})


async def acknowledge(visit: Visit) -> Response:
    """Acknowledge a notice."""
    _, key = await visit.form()
    return await visit.enqueue(key, "notice.acknowledge", {"notice": visit.number})


async def snooze(visit: Visit) -> Response:
    """Ask for a later deadline: one of the offered lengths, with a reason."""
    fields, key = await visit.form()
    for_s, reason = SNOOZE_CHOICES_S.get(fields.get("length", "")), fields.get("reason", "").strip()
    if for_s is None or not 1 <= len(reason) <= 500:
        raise Problem(422, "snooze", "Give a length of the list and a reason.")
    body = {"notice": visit.number, "for_s": for_s, "reason": reason}
    return await visit.enqueue(key, "notice.snooze", body)


async def write(visit: Visit) -> Response:
    """The result of a write: waiting, done or refused."""
    found = write_result(visit.request, visit.viewer, visit.request.path_params["id"])
    return visit.render("write.html", {"write": found})


async def statement(visit: Visit) -> Response:
    """One month: opening, every line, closing."""
    try:
        start_s = month_s(visit.request.path_params["month"])
    except ValueError:
        raise HTTPException(404) from None
    found = visit.viewer.reads.statement(visit.viewer.read_model.book(), start_s)
    if found is None:
        raise HTTPException(404)
    lines, most = found.lines[-STATEMENT_LINES_SHOWN:], STATEMENT_LINES_SHOWN
    return visit.render("statement.html", {"statement": found, "lines": lines, "most": most})


async def on_problem(request: Request, error: Exception) -> Response:
    """A refusal as a page; a browser without a session goes to the sign-in form."""
    assert isinstance(error, Problem)
    if error.status == 401:
        url = f"{SIGN_IN}?reason={error.kind}"
        if "hx-request" in request.headers:
            return Response(status_code=204, headers={**HEADERS, "HX-Redirect": url})
        response = _redirect(url)
        _clear_session(response, request)
        return response
    return _problem_page(request, error.status, error.kind, error.detail, error.headers)


async def on_http_error(request: Request, error: Exception) -> Response:
    """An unknown address or method."""
    assert isinstance(error, HTTPException)
    return _problem_page(request, error.status_code, "not-found", error.detail, error.headers or {})


def _sign_in_page(request: Request, reason: str, status: int = 200) -> Response:
    services: PortalServices = request.app.state.services
    now_s = services.read_model.now_s()
    session = services.sessions.read(request, now_s)
    session = session or services.sessions.new_session("", now_s + SESSION_MAX_AGE_S)
    context = _base_context(request, Translator(language(request)), session) | {"reason": reason}
    text = services.templates.get_template("sign_in.html").render(context)
    response = _remember_language(request, HTMLResponse(text, status, HEADERS))
    services.sessions.write(response, session, request, now_s)
    return response


def _problem_page(
    request: Request, status: int, kind: str, detail: str, headers: Mapping[str, str]
) -> Response:
    services: PortalServices = request.app.state.services
    context = _base_context(request, Translator(language(request)))
    context |= {"kind": kind, "detail": detail}
    text = services.templates.get_template("problem.html").render(context)
    return HTMLResponse(text, status, {**HEADERS, **headers})


def _base_context(
    request: Request, translator: Translator, session: Session | None = None
) -> dict[str, Any]:
    services: PortalServices = request.app.state.services
    form = services.sessions.form_token(session) if session else ""
    return {"_": translator, "path": request.url.path, "root": PATH, "form": form}


def _remember_language(request: Request, response: Response) -> Response:
    if request.query_params.get("lang") in languages.LANGUAGES:
        set_cookie(response, request, languages.COOKIE, language(request), YEAR_S)
    return response


def _has_ended(inbox: Inbox, session: Session) -> bool:
    """Whether the session was signed out. Raises Problem if nobody can tell."""
    try:
        return inbox.has_ended(session.nonce)
    except sqlite3.Error:
        raise _inbox_problem() from None


def _inbox_problem() -> Problem:
    return Problem(503, "inbox-unavailable", "The inbox does not answer: try again in a minute.")


def _redirect(url: str) -> Response:
    return RedirectResponse(url, 303, headers=HEADERS)


def _clear_session(response: Response, request: Request) -> None:
    ended = request.app.state.services.sessions.new_session("", 0)
    request.app.state.services.sessions.write(response, ended, request, 0)
