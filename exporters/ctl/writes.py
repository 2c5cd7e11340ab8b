"""The commands that write: requests for GPUs, advances, and answers to notices."""

from __future__ import annotations

from typing import Annotated

import typer

from exporters.ctl import formatting
from exporters.ctl.default_command import default_command
from exporters.ctl.runner import Json, Key, Watch, send_write, show

Wait = Annotated[bool, typer.Option("--wait", help="Wait until the next cycle has decided.")]
Number = Annotated[int, typer.Argument(min=1, help="As the list numbers it.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    request_group = typer.Typer(cls=default_command("open"), no_args_is_help=True)
    request_group.command("open")(open_request)
    request_group.command("list")(list_requests)
    request_group.command("withdraw")(withdraw)
    app.add_typer(
        request_group, name="request", help="Ask for GPUs: POOL GPUS --for 2h; list; withdraw N."
    )
    app.command("advance")(advance)
    notice_group = typer.Typer(invoke_without_command=True)
    notice_group.callback()(notices)
    notice_group.command("ack")(acknowledge)
    notice_group.command("snooze")(snooze)
    app.add_typer(notice_group, name="notices", help="Show notices; ack N; snooze N --for 1h.")


def open_request(
    pool: Annotated[str, typer.Argument(help="A pool, as 'quota' lists them.")],
    gpus: Annotated[
        int, typer.Argument(min=1, help="GPUs in all, including those that run already.")
    ],
    for_: Annotated[
        str, typer.Option("--for", help="How long you need them once they run, such as 2h.")
    ],
    reason: Annotated[str, typer.Option(help="Why; it is kept in the book.")] = "",
    refused_for: Annotated[
        str, typer.Option(help="quota: Scaleway refused your start for the organization's quota.")
    ] = "",
    key: Key = None,
    wait: Wait = False,
    as_json: Json = False,
) -> None:
    """Ask for GPUs of a pool. If you lent your quota, you get it back this way."""
    body = {"pool": pool, "gpus": gpus, "duration": for_, "reason": reason}
    body |= {"refused_for": refused_for} if refused_for else {}
    send_write("the request", "requests", body, key, wait=wait, as_json=as_json)


def list_requests(as_json: Json = False, watch: Watch = False) -> None:
    """Show your requests and their states, newest first."""
    show("requests", formatting.requests_text, as_json=as_json, watch=watch)


def withdraw(number: Number, key: Key = None, wait: Wait = False, as_json: Json = False) -> None:
    """Withdraw a request."""
    send_write("the withdrawal", f"requests/{number}", None, key, wait=wait, as_json=as_json)


def advance(
    grant: Annotated[
        str | None,
        typer.Argument(help="The grant; by default the one whose next tranche begins first."),
    ] = None,
    amount: Annotated[
        str | None, typer.Option(help="Credits; by default all that the program lets you take.")
    ] = None,
    key: Key = None,
    wait: Wait = False,
    as_json: Json = False,
) -> None:
    """Make part of your next tranche usable now, once for each tranche."""
    options = {"grant": grant, "amount": amount}
    body = {name: value for name, value in options.items() if value is not None}
    send_write("the advance", "advance", body, key, wait=wait, as_json=as_json)


def notices(
    context: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    as_json: Json = False,
    watch: Watch = False,
) -> None:
    """Show the live notices."""
    if context.invoked_subcommand is not None:
        return
    live = "false" if every else "true"
    show("notices", formatting.notices_text, as_json=as_json, watch=watch, live=live)


def acknowledge(number: Number, key: Key = None, wait: Wait = False, as_json: Json = False) -> None:
    """Acknowledge a notice, so that no reminder follows."""
    send_write(
        "the acknowledgement", f"notices/{number}/acknowledge", {}, key, wait=wait, as_json=as_json
    )


def snooze(
    number: Number,
    for_: Annotated[str, typer.Option("--for", help="How much later: such as 1h.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept in the book.")] = "asked for",
    key: Key = None,
    wait: Wait = False,
    as_json: Json = False,
) -> None:
    """Ask for a later deadline, within the program's policy."""
    body = {"for": for_, "reason": reason}
    send_write("the snooze", f"notices/{number}/snooze", body, key, wait=wait, as_json=as_json)
