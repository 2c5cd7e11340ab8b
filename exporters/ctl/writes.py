"""The commands that ask for something: GPUs, and answers to notices."""

from __future__ import annotations

from typing import Annotated

import typer

from exporters.ctl import formatting
from exporters.ctl.default_command import beginning_with
from exporters.ctl.runner import Json, Key, Watch, connect, show, told

Wait = Annotated[bool, typer.Option("--wait", help="Wait until the next cycle has decided.")]
Number = Annotated[int, typer.Argument(min=1, help="As the list numbers it.")]


def register(app: typer.Typer) -> None:
    """Add both groups."""
    asks = typer.Typer(cls=beginning_with("open"), no_args_is_help=True)
    asks.command("open")(open_request)
    asks.command("list")(list_requests)
    asks.command("withdraw")(withdraw)
    app.add_typer(asks, name="request", help="Ask for GPUs: POOL GPUS --for 2h; list; withdraw N.")
    told_of = typer.Typer(invoke_without_command=True)
    told_of.callback()(notices)
    told_of.command("ack")(acknowledge)
    told_of.command("snooze")(snooze)
    app.add_typer(told_of, name="notices", help="Show notices; ack N; snooze N --for 1h.")


def open_request(
    pool: Annotated[str, typer.Argument(help="A pool, as 'quota' lists them.")],
    gpus: Annotated[int, typer.Argument(min=1, help="GPUs in all, those that run among them.")],
    for_: Annotated[str, typer.Option("--for", help="How long, once they run: such as 2h.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept in the book.")] = "",
    refused: Annotated[
        str, typer.Option(help="quota: Scaleway refused your start for its quota.")
    ] = "",
    key: Key = None,
    wait: Wait = False,
    as_json: Json = False,
) -> None:
    """Ask for GPUs of a pool; an owner asks its lent quota back in this way."""
    client = connect()
    body = {"pool": pool, "gpus": gpus, "duration": for_, "reason": reason}
    body |= {"refused": refused} if refused else {}
    told(client, lambda used: client.post("requests", body, used), key, wait=wait, as_json=as_json)


def list_requests(as_json: Json = False, watch: Watch = False) -> None:
    """Show what was asked for and what became of it, newest first."""
    client = connect()
    show(lambda: client.get("requests"), formatting.requests_text, as_json=as_json, watch=watch)


def withdraw(number: Number, key: Key = None, wait: Wait = False, as_json: Json = False) -> None:
    """Take a request back."""
    client = connect()
    path = f"requests/{number}"
    told(client, lambda used: client.delete(path, used), key, wait=wait, as_json=as_json)


def notices(
    context: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Those that are over, too.")] = False,
    as_json: Json = False,
    watch: Watch = False,
) -> None:
    """Show the notices that hold."""
    if context.invoked_subcommand is not None:
        return
    client = connect()
    live = "false" if every else "true"
    show(
        lambda: client.get("notices", live=live),
        formatting.notices_text,
        as_json=as_json,
        watch=watch,
    )


def acknowledge(number: Number, key: Key = None, wait: Wait = False, as_json: Json = False) -> None:
    """Say that a notice was read, so that nobody is reminded of it."""
    client = connect()
    path = f"notices/{number}/acknowledge"
    told(client, lambda used: client.post(path, {}, used), key, wait=wait, as_json=as_json)


def snooze(
    number: Number,
    for_: Annotated[str, typer.Option("--for", help="How much later: such as 1h.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept in the book.")] = "asked for",
    key: Key = None,
    wait: Wait = False,
    as_json: Json = False,
) -> None:
    """Ask for a later deadline, within what the program's policy allows."""
    client = connect()
    path, body = f"notices/{number}/snooze", {"for": for_, "reason": reason}
    told(client, lambda used: client.post(path, body, used), key, wait=wait, as_json=as_json)
