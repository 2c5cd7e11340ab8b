"""Commands on the tokens of the API: create, list, rotate, revoke. A token is shown once."""

from __future__ import annotations

import secrets
from typing import Annotated, Any

import typer

from quotas.book import Book
from quotas.book.actions.tokens import create_token, list_tokens, revoke_token, rotate_token
from quotas.book.inbox import last_token_uses
from quotas.model.tokens import SECRET_BYTES, Token, check_scopes, fingerprint, write_token
from quotas.model.units import format_instant
from scheduler.cli import options
from scheduler.cli.commands import Answer, answer_command
from scheduler.clock import SystemClock
from scheduler.views.json_fields import json_fields

MAX_NAME_LENGTH = 100

Id = Annotated[str, typer.Argument(metavar="ID", help="Id of the token, as in 'token list'.")]
Expires = Annotated[str, typer.Option(help="How long the token works: 90d, 12h.")]

app = typer.Typer(
    name="token", no_args_is_help=True, help="Create, list, rotate and revoke tokens of the API."
)


@app.command()
def create(
    name: Annotated[str, typer.Option(help="What the token is for, such as ci.")],
    startup: Annotated[
        str, typer.Argument(help="The startup that gets it. Default: the operators.")
    ] = "",
    scope: Annotated[
        str,
        typer.Option(help="A startup's: read,request,node,power. An operator's: admin,audit."),
    ] = "read",
    expires: Expires = "90d",
    state: options.State = options.DEFAULT_STATE,
    as_json: options.Json = False,
) -> None:
    """Create a token and print it once. The book stores only its hash."""
    scopes = tuple(dict.fromkeys(scope.split(",")))
    try:
        check_scopes(startup, scopes)
    except ValueError as error:
        options.fail(str(error))
    if not name.isprintable() or not 0 < len(name.strip()) <= MAX_NAME_LENGTH:
        options.fail(f"--name is {name!r}: give 1 to {MAX_NAME_LENGTH} printable letters")
    token = _unsaved(name, startup, scopes, expires)
    text, token_hash = new_token()
    made = create_token(Book.open_existing(state), token, token_hash)
    _print_once(made, text, as_json=as_json)


@app.command("list")
def list_all(state: options.State = options.DEFAULT_STATE, as_json: options.Json = False) -> None:
    """List every token: its startup, scopes, expiry and last use. It shows no token itself."""
    tokens, used = list_tokens(Book.open_existing(state)), last_token_uses(state.folder)
    rows = [_described(each, used.get(each.id)) for each in tokens]
    lines = (
        f"{row['id']}  {row['state']:8} {row['startup'] or 'operators':20} "
        f"{','.join(row['scopes']):14} until {row['expires']}  "
        f"used {row['last_used'] or 'never'}  {row['name']}"
        for row in rows
    )
    options.print_answer(rows, lines, as_json=as_json)


@app.command()
def rotate(
    id: Id,
    overlap: Annotated[str, typer.Option(help="How long the old token still works.")] = "1d",
    expires: Expires = "90d",
    state: options.State = options.DEFAULT_STATE,
    as_json: options.Json = False,
) -> None:
    """Create a successor with the same scopes. The old token ends after the overlap."""
    overlap_s = options.parse_duration_option("--overlap", overlap, least="0s", most="30d")
    successor = _unsaved("", "", (), expires)
    text, token_hash = new_token()
    ends_s = successor.created_s + overlap_s
    made = rotate_token(Book.open_existing(state), id, successor, token_hash, ends_s)
    _print_once(made, text, as_json=as_json)


@answer_command(app)
def revoke(book: Book, id: Id) -> Answer:
    """End a token. While the daemon runs, requests with it are refused within seconds."""
    ended = revoke_token(book, id, SystemClock().now_s())
    return _described(ended), [f"{id} of {ended.startup or 'operators'} is revoked"]


def new_token() -> tuple[str, str]:
    """A new token for its holder, and the hash that the book stores."""
    text = write_token(secrets.token_bytes(SECRET_BYTES))
    token_hash = fingerprint(text)
    assert token_hash is not None, "a token just written has a right checksum"
    return text, token_hash


def _unsaved(name: str, startup: str, scopes: tuple[str, ...], expires: str) -> Token:
    """A token that the book has yet to give an id, good from now on."""
    now_s = SystemClock().now_s()
    ends_s = now_s + options.parse_duration_option("--expires", expires)
    return Token("", name, startup, scopes, now_s, ends_s, None, options.actor())


def _print_once(token: Token, text: str, *, as_json: bool) -> None:
    options.print_answer({**_described(token), "token": text}, [text], as_json=as_json)
    if not as_json:
        until = format_instant(token.expires_s)
        typer.echo(f"{token.id} works until {until}; it is not shown again", err=True)


def _described(token: Token, used_s: int | None = None) -> dict[str, Any]:
    return {
        **json_fields(token, "id name startup scopes created_s expires_s revoked_s actor"),
        "state": token.state(SystemClock().now_s()),
        "last_used": None if used_s is None else format_instant(used_s),
    }
