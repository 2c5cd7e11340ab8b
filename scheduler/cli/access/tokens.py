"""Commands on the tokens of the API: create, list, rotate, revoke. A token is shown once."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, NoReturn

import typer

from quotas.book import Book
from quotas.book.actions.tokens import create_token, list_tokens, revoke_token, rotate_token
from quotas.book.inbox import last_token_uses
from quotas.ledger.corrections import Refused
from quotas.model.tokens import SECRET_BYTES, Token, check_scopes, fingerprint, write_token
from quotas.model.units import DAY_S, format_instant, parse_duration
from scheduler.cli.options import DEFAULT_STATE, Json, State, actor, print_json
from scheduler.clock import SystemClock

REFUSED = 1
MAX_NAME_LENGTH = 100
MAX_LIFETIME_S = 366 * DAY_S
MAX_OVERLAP_S = 30 * DAY_S

Id = Annotated[str, typer.Argument(metavar="ID", help="Id of the token, as in 'token list'.")]
Expires = Annotated[str, typer.Option(help="How long it is good for: 90d, 12h.")]


def register(app: typer.Typer) -> None:
    """Add these commands as `cohortd token …`."""
    group = typer.Typer(no_args_is_help=True, help="Tokens of the API: create, list, end them.")
    group.command("create")(create)
    group.command("list")(list_all)
    group.command("rotate")(rotate)
    group.command("revoke")(revoke)
    app.add_typer(group, name="token")


def create(
    name: Annotated[str, typer.Option(help="What it is for, such as ci.")],
    startup: Annotated[str, typer.Argument(help="Whose it is; left out for an operator.")] = "",
    scope: Annotated[str, typer.Option(help="read,request for a startup; admin,audit.")] = "read",
    expires: Expires = "90d",
    state: State = DEFAULT_STATE,
    as_json: Json = False,
) -> None:
    """Create a token and print it once; the book stores only its hash."""
    scopes = tuple(dict.fromkeys(scope.split(",")))
    try:
        check_scopes(startup, scopes)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if not name.isprintable() or not 0 < len(name.strip()) <= MAX_NAME_LENGTH:
        raise typer.BadParameter(
            f"--name is {name!r}: give 1 to {MAX_NAME_LENGTH} printable letters"
        )
    now_s = SystemClock().now_s()
    life_s = _seconds("--expires", expires, MAX_LIFETIME_S)
    token = Token("", name, startup, scopes, now_s, now_s + life_s, None, actor())
    text, token_hash = new_token()
    try:
        made = create_token(Book.open_existing(state), token, token_hash)
    except Refused as error:
        _refuse(error)
    _print_once(made, text, now_s, as_json=as_json)


def list_all(state: State = DEFAULT_STATE, as_json: Json = False) -> None:
    """Show every token: its startup, scopes, expiry and last use; never the token itself."""
    now_s = SystemClock().now_s()
    tokens, used = list_tokens(Book.open_existing(state)), last_token_uses(state.folder)
    if as_json:
        print_json([_described(each, now_s, used) for each in tokens])
        return
    for each in tokens:
        row = _described(each, now_s, used)
        typer.echo(
            f"{each.id}  {row['state']:8} {each.startup or 'operators':20} "
            f"{','.join(each.scopes):14} until {row['expires']}  "
            f"used {row['last_used'] or 'never'}  {each.name}"
        )


def rotate(
    id: Id,
    overlap: Annotated[str, typer.Option(help="How long the old one still works.")] = "1d",
    expires: Expires = "90d",
    state: State = DEFAULT_STATE,
    as_json: Json = False,
) -> None:
    """Create a successor with the same scopes; the old token ends after the overlap."""
    now_s = SystemClock().now_s()
    ends_s = now_s + _seconds("--overlap", overlap, MAX_OVERLAP_S, least=0)
    life_s = _seconds("--expires", expires, MAX_LIFETIME_S)
    successor = Token("", "", "", (), now_s, now_s + life_s, None, actor())
    text, token_hash = new_token()
    try:
        made = rotate_token(Book.open_existing(state), id, successor, token_hash, ends_s)
    except Refused as error:
        _refuse(error)
    _print_once(made, text, now_s, as_json=as_json)


def revoke(id: Id, state: State = DEFAULT_STATE, as_json: Json = False) -> None:
    """End a token at once; the next request with it is refused."""
    now_s = SystemClock().now_s()
    try:
        ended = revoke_token(Book.open_existing(state), id, now_s)
    except Refused as error:
        _refuse(error)
    if as_json:
        print_json(_described(ended, now_s, {}))
    else:
        typer.echo(f"{id} of {ended.startup or 'operators'} is revoked")


def new_token() -> tuple[str, str]:
    """A new token for its holder, and the hash that the book stores."""
    text = write_token(secrets.token_bytes(SECRET_BYTES))
    token_hash = fingerprint(text)
    assert token_hash is not None, "a token just written has a right checksum"
    return text, token_hash


def _print_once(token: Token, text: str, now_s: int, *, as_json: bool) -> None:
    if as_json:
        print_json({**_described(token, now_s, {}), "token": text})
        return
    typer.echo(text)
    typer.echo(f"{token.id} until {format_instant(token.expires_s)}; shown this once", err=True)


def _described(token: Token, now_s: int, used: Mapping[str, int]) -> dict[str, Any]:
    used_s, revoked_s = used.get(token.id), token.revoked_s
    kept = {key: value for key, value in asdict(token).items() if not key.endswith("_s")}
    return {
        **kept,
        "state": token.state(now_s),
        "created": format_instant(token.created_s),
        "expires": format_instant(token.expires_s),
        "revoked": format_instant(revoked_s) if revoked_s is not None else None,
        "last_used": format_instant(used_s) if used_s is not None else None,
    }


def _seconds(option: str, text: str, most: int, least: int = 1) -> int:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(f"{option}: {error}") from None
    if not least <= seconds <= most:
        raise typer.BadParameter(f"{option} is {text}: choose at most {most // DAY_S}d")
    return seconds


def _refuse(error: Refused) -> NoReturn:
    typer.echo(f"cohortd: refused: {error}", err=True)
    raise typer.Exit(REFUSED)
