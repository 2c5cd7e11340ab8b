"""What are the portal's addresses? A page, its fragment, a form for each write."""

from __future__ import annotations

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

from exporters.api.access import Access, Own, address_of
from exporters.api.problems import Problem
from exporters.api.read_model import Source
from exporters.api.routers.writes import NewRequest, keep, written
from exporters.portal import i18n as languages
from exporters.portal.i18n import Words, language
from exporters.portal.page import SNOOZES_S, everything, new_key, present
from exporters.portal.sessions import LASTS_S, PATH, Session, Sessions, set_cookie, signing_key
from quotas.book.inbox import Inbox
from quotas.ledger.statements import month_s
from quotas.model.tokens import fingerprint

SIGN_IN = f"{PATH}/sign-in"
YEAR_S = 365 * 86_400
LINES = 200
"""Lines of a statement that a page shows, the newest; the API has them all."""
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
    """The number of a row in an address; starlette's own takes digits that int() refuses."""

    regex = "[0-9]{1,18}"


register_url_convertor("number", Number())


@dataclass(frozen=True)
class Desk:
    """What the handlers share."""

    source: Source
    access: Access
    sessions: Sessions
    templates: Environment


@dataclass(frozen=True)
class Visit:
    """A request of somebody who has signed in."""

    request: Request
    desk: Desk
    session: Session
    own: Own
    words: Words


Handler = Callable[[Request], Awaitable[Response]]


def build_portal(state: Path, source: Source, access: Access, inbox: Inbox) -> Starlette:
    """The portal over the same source, rates and inbox as the API."""
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
            Route("/requests", signed_in(ask), methods=["POST"]),
            Route("/requests/{number:number}/withdraw", signed_in(withdraw), methods=["POST"]),
            Route("/notices/{number:number}/acknowledge", signed_in(acknowledge), methods=["POST"]),
            Route("/notices/{number:number}/snooze", signed_in(snooze), methods=["POST"]),
            Route("/writes/{id}", signed_in(write)),
            Route("/statements/{month}", signed_in(statement)),
            Mount("/static", StaticFiles(packages=[("exporters.portal", "static")])),
        ],
        exception_handlers={Problem: on_problem, HTTPException: on_http},
    )
    app.state.source, app.state.inbox = source, inbox
    app.state.desk = Desk(source, access, Sessions(signing_key(state)), templates)
    return app


def signed_in(handle: Callable[[Visit], Awaitable[Response]]) -> Handler:
    """Let a request through whose token is in force now, with that startup's reads only."""

    async def checked(request: Request) -> Response:
        desk: Desk = request.app.state.desk
        now_s = desk.source.now_s()
        session = desk.sessions.read(request, now_s)
        if session is None or not session.token_hash:
            raise Problem(401, "session-ended", "Sign in first.")
        token = desk.source.token(session.token_hash)
        if token is None or token.state(now_s) != "active":
            raise Problem(401, "token-ended", "The token of this session is no longer in force.")
        desk.access.admit(token, request.method, "read")
        own = Own(token, await desk.source.newest(), desk.source)
        said = Words(language(request), own.shown.board.program.timezone)
        return await handle(Visit(request, desk, session, own, said))

    return checked


async def page(visit: Visit) -> Response:
    """Everything a founder sees."""
    return _page(visit)


async def now(visit: Visit) -> Response:
    """The part of the page that is refreshed by itself."""
    context = _shared(visit.request, visit.words) | present(visit.own, visit.words)
    text = render_block(visit.desk.templates, "page.html", "now", **context)
    return HTMLResponse(text, headers=HEADERS)


async def sign_in_form(request: Request) -> Response:
    """The form for a token."""
    return _sign_in_page(request, request.query_params.get("why", ""))


async def sign_in(request: Request) -> Response:
    """Trade a token for a session."""
    desk: Desk = request.app.state.desk
    now_s = desk.source.now_s()
    session = desk.sessions.read(request, now_s)
    try:
        fields = await desk.sessions.form(request, session)
        text = fields.get("token", "").strip()
        token = desk.access.bearer(f"Bearer {text}", address_of(request))
        desk.access.admit(token, request.method, "read")
    except Problem as problem:
        return _sign_in_page(request, problem.kind, problem.status)
    ends_s = min(now_s + LASTS_S, token.expires_s)
    response = _to(f"{PATH}/")
    fresh = desk.sessions.begin(fingerprint(text) or "", ends_s)
    desk.sessions.write(response, fresh, request, now_s)
    return response


async def sign_out(visit: Visit) -> Response:
    """End the session in this browser."""
    await visit.desk.sessions.form(visit.request, visit.session)
    response = _to(f"{SIGN_IN}?why=signed-out")
    _forget(response, visit.request)
    return response


async def ask(visit: Visit) -> Response:
    """Ask for GPUs; a form that makes no sense comes back with what is wrong."""
    fields, key = await _form(visit)
    try:
        texts = {name: fields.get(name, "") for name in ("pool", "reason", "refused")}
        length = fields.get("length", "") + fields.get("unit", "")
        asked = {**texts, "gpus": int(fields.get("gpus", "")), "duration": length}
        wanted = NewRequest.model_validate(asked)
        duration_s = wanted.duration_s()
    except (ValidationError, ValueError, Problem):
        return _page(visit, 422, fields)
    body = {**wanted.model_dump(exclude={"duration"}), "duration_s": duration_s}
    return await _put(visit, key, "request.open", body)


async def withdraw(visit: Visit) -> Response:
    """Take a request back."""
    _, key = await _form(visit)
    number = visit.request.path_params["number"]
    return await _put(visit, key, "request.withdraw", {"request": number})


async def acknowledge(visit: Visit) -> Response:
    """Say that a notice was read."""
    _, key = await _form(visit)
    number = visit.request.path_params["number"]
    return await _put(visit, key, "notice.acknowledge", {"notice": number})


async def snooze(visit: Visit) -> Response:
    """Ask for a later deadline; one of the lengths that the form offers, with a reason."""
    fields, key = await _form(visit)
    for_s, reason = SNOOZES_S.get(fields.get("length", "")), fields.get("reason", "").strip()
    if for_s is None or not 1 <= len(reason) <= 500:
        raise Problem(422, "snooze", "Give a length of the list and a reason.")
    asked = {"notice": visit.request.path_params["number"], "for_s": for_s, "reason": reason}
    return await _put(visit, key, "notice.snooze", asked)


async def write(visit: Visit) -> Response:
    """What became of something that was asked: waiting, done or refused."""
    found = written(visit.request, visit.own, visit.request.path_params["id"])
    context = _shared(visit.request, visit.words, visit.session) | {"write": found}
    text = visit.desk.templates.get_template("write.html").render(context)
    return _chosen(visit.request, HTMLResponse(text, headers=HEADERS))


async def statement(visit: Visit) -> Response:
    """One month: opening, every line, closing."""
    month = visit.request.path_params["month"]
    try:
        start_s = month_s(month)
    except ValueError:
        raise HTTPException(404) from None
    found = visit.own.reads.statement(visit.own.source.book(), start_s)
    if found is None:
        raise HTTPException(404)
    context = _shared(visit.request, visit.words, visit.session)
    context |= {"statement": found, "lines": found.lines[-LINES:], "most": LINES}
    text = visit.desk.templates.get_template("statement.html").render(context)
    return _chosen(visit.request, HTMLResponse(text, headers=HEADERS))


async def on_problem(request: Request, error: Exception) -> Response:
    """A refusal as a page; who is not signed in is sent to the form."""
    assert isinstance(error, Problem)
    if error.status == 401:
        place = f"{SIGN_IN}?why={error.kind}"
        if "hx-request" in request.headers:
            return Response(status_code=204, headers={**HEADERS, "HX-Redirect": place})
        response = _to(place)
        _forget(response, request)
        return response
    return _refused(request, error.status, error.kind, error.detail, error.headers)


async def on_http(request: Request, error: Exception) -> Response:
    """An address or a method that is not there."""
    assert isinstance(error, HTTPException)
    return _refused(request, error.status_code, "not-found", error.detail, error.headers or {})


def _page(visit: Visit, status: int = 200, asked: Mapping[str, str] | None = None) -> Response:
    found = everything(visit.own, visit.words, asked or {})
    context = _shared(visit.request, visit.words, visit.session) | found
    text = visit.desk.templates.get_template("page.html").render(context)
    return _chosen(visit.request, HTMLResponse(text, status, HEADERS))


def _sign_in_page(request: Request, why: str, status: int = 200) -> Response:
    desk: Desk = request.app.state.desk
    now_s = desk.source.now_s()
    session = desk.sessions.read(request, now_s) or desk.sessions.begin("", now_s + LASTS_S)
    context = _shared(request, Words(language(request)), session) | {"why": why}
    text = desk.templates.get_template("sign_in.html").render(context)
    response = _chosen(request, HTMLResponse(text, status, HEADERS))
    desk.sessions.write(response, session, request, now_s)
    return response


def _refused(
    request: Request, status: int, kind: str, detail: str, headers: Mapping[str, str]
) -> Response:
    desk: Desk = request.app.state.desk
    context = _shared(request, Words(language(request))) | {"kind": kind, "detail": detail}
    text = desk.templates.get_template("problem.html").render(context)
    return HTMLResponse(text, status, {**HEADERS, **headers})


def _shared(request: Request, words: Words, session: Session | None = None) -> dict[str, Any]:
    """What every template is given."""
    desk: Desk = request.app.state.desk
    form = desk.sessions.form_token(session) if session else ""
    return {"_": words, "path": request.url.path, "root": PATH, "form": form}


def _chosen(request: Request, response: Response) -> Response:
    """Remember a language that was chosen by its link."""
    if request.query_params.get("lang") in languages.LANGUAGES:
        set_cookie(response, request, languages.COOKIE, language(request), YEAR_S)
    return response


async def _form(visit: Visit) -> tuple[dict[str, str], str]:
    """A form's fields and its key. Raises Problem."""
    fields = await visit.desk.sessions.form(visit.request, visit.session)
    visit.desk.access.admit(visit.own.token, "POST", "request")
    key = fields.pop("key", "")
    if len(key) != len(new_key()) or not key.isascii() or not key.isalnum():
        raise Problem(403, "form", "This form has no key: open the page again.")
    return fields, f"portal-{key}"


async def _put(visit: Visit, key: str, kind: str, body: dict[str, Any]) -> Response:
    kept = await keep(visit.request, visit.own.token, key, kind, body)
    return _to(f"{PATH}/writes/{kept.id}")


def _to(place: str) -> Response:
    return RedirectResponse(place, 303, headers=HEADERS)


def _forget(response: Response, request: Request) -> None:
    ended = request.app.state.desk.sessions.begin("", 0)
    request.app.state.desk.sessions.write(response, ended, request, 0)
