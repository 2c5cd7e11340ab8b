"""Commands with which a person changes the books: grant, void, refund, transfer.

Each prints what it did, or with --dry-run what it would do. A deed that the books refuse
ends with exit 1, a value that cannot be read with exit 2; neither writes anything.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from quotas.book import Book
from quotas.book.deeds import perform, preview
from quotas.corrections import Refused
from quotas.orders import Deed, GrantOrder, Order, RefundOrder, TransferOrder, VoidOrder
from quotas.units import format_credits, format_instant, parse_credits, parse_instant
from scheduler.cli.options import DEFAULT_STATE, Json, State, actor, show
from scheduler.clock import SystemClock

REFUSED, BAD_INPUT = 1, 2
CATEGORIES = ("sponsor", "promotional", "paid", "bonus")
MOST_PRIORITY = 1_000_000
LONGEST_REASON = 500

Startup = Annotated[str, typer.Argument(help="A startup of the program.")]
Credits = Annotated[str, typer.Argument(help="Credits, such as 60000 or 12.50.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept in the book.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be; change nothing.")]
Key = Annotated[
    str | None,
    typer.Option("--key", help="Repeating a command with its key repeats its first answer."),
]

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_KEY = re.compile(r"[!$-~][!-~]{0,99}")  # printable; '#' in front is ours


def register(app: typer.Typer) -> None:
    """Add these commands. An amount may begin with '-', to be refused as an amount."""
    as_amount = {"ignore_unknown_options": True}
    app.command(context_settings=as_amount)(grant)
    app.command()(void)
    app.command()(refund)
    app.command(context_settings=as_amount)(transfer)


def grant(
    startup: Startup,
    amount: Credits,
    grant_id: Annotated[str, typer.Option("--id", help="Id of the grant, never used before.")],
    reason: Reason,
    category: Annotated[str, typer.Option(help=", ".join(CATEGORIES))] = "sponsor",
    priority: Annotated[int, typer.Option(help="Lower burns first.")] = 0,
    effective: Annotated[str | None, typer.Option(help="Instant; now by default.")] = None,
    expires: Annotated[str | None, typer.Option(help="Instant; the cohort's end.")] = None,
    state: State = DEFAULT_STATE,
    dry_run: DryRun = False,
    as_json: Json = False,
    key: Key = None,
) -> None:
    """Give credits to a startup, as a grant of its own."""
    if not _NAME.fullmatch(grant_id):
        _fail(f"--id {grant_id!r} is no valid id; use up to 63 of a-z, 0-9 and -", BAD_INPUT)
    if category not in CATEGORIES:
        _fail(f"--category {category!r} is not one of {', '.join(CATEGORIES)}", BAD_INPUT)
    if not 0 <= priority <= MOST_PRIORITY:
        _fail(f"--priority {priority} is out of range; give 0 to {MOST_PRIORITY}", BAD_INPUT)
    order = GrantOrder(
        startup,
        grant_id,
        _amount_ucr(amount),
        category,
        priority,
        None if effective is None else _instant_s("--effective", effective),
        None if expires is None else _instant_s("--expires", expires),
    )
    _carry_out(order, reason, _Way(state, key, dry_run, as_json))


def void(
    startup: Startup,
    grant_id: Annotated[str, typer.Argument(metavar="GRANT", help="Id of the grant.")],
    reason: Reason,
    state: State = DEFAULT_STATE,
    dry_run: DryRun = False,
    as_json: Json = False,
    key: Key = None,
) -> None:
    """Return what is left of a grant to the sponsor, and say how much was used."""
    _carry_out(VoidOrder(startup, grant_id), reason, _Way(state, key, dry_run, as_json))


def refund(
    from_: Annotated[str, typer.Option("--from", help="First instant, with its zone.")],
    to: Annotated[str, typer.Option("--to", help="Instant after the last second.")],
    reason: Reason,
    server: Annotated[str | None, typer.Option(help="Id of the server.")] = None,
    startup: Annotated[str | None, typer.Option(help="Every server of this startup.")] = None,
    zone: Annotated[str | None, typer.Option(help="Every server in this zone, whosever.")] = None,
    state: State = DEFAULT_STATE,
    dry_run: DryRun = False,
    as_json: Json = False,
    key: Key = None,
) -> None:
    """Return every charged second of an interval to the grants that it was drawn from."""
    if sum(named is not None for named in (server, startup, zone)) != 1:
        _fail("a refund names one of three; give --server, --startup or --zone", BAD_INPUT)
    from_s, to_s = _instant_s("--from", from_), _instant_s("--to", to)
    if to_s <= from_s:
        _fail(f"--to {to} is not after --from {from_}", BAD_INPUT)
    order = RefundOrder(from_s, to_s, server, startup, zone)
    _carry_out(order, reason, _Way(state, key, dry_run, as_json))


def transfer(
    giver: Annotated[str, typer.Argument(metavar="FROM", help="The startup that gives.")],
    to: Annotated[str, typer.Argument(metavar="TO", help="A startup of the same cohort.")],
    amount: Credits,
    reason: Reason,
    state: State = DEFAULT_STATE,
    dry_run: DryRun = False,
    as_json: Json = False,
    key: Key = None,
) -> None:
    """Move credits from one startup to another of its cohort, with the end they have."""
    order = TransferOrder(giver, to, _amount_ucr(amount))
    _carry_out(order, reason, _Way(state, key, dry_run, as_json))


@dataclass(frozen=True, slots=True)
class _Way:
    """How a command is carried out: on which book, under which key, for show or for good."""

    state: Path
    key: str | None
    dry_run: bool
    as_json: bool


def _carry_out(order: Order, reason: str, way: _Way) -> None:
    if not reason.strip() or len(reason) > LONGEST_REASON or not reason.isprintable():
        _fail(f"--reason is one line of 1 to {LONGEST_REASON} characters", BAD_INPUT)
    if way.key is not None and not _KEY.fullmatch(way.key):
        _fail("--key is 1 to 100 printable characters without space, no '#' in front", BAD_INPUT)
    for name in filter(None, (v for v in asdict(order).values() if isinstance(v, str))):
        if not name.isprintable():
            _fail(f"{name!r} cannot be a name; write printable characters", BAD_INPUT)
    book = Book.open_existing(way.state)
    deed = Deed(order, reason.strip(), actor(), SystemClock().now_s(), way.key)
    try:
        answer = preview(book, deed) if way.dry_run else perform(book, deed)
    except Refused as refused:
        _fail(f"refused: {refused}", REFUSED)
    finally:
        book.close()
    if way.as_json:
        show({**answer, "dry_run": way.dry_run})
    else:
        typer.echo(f"{'would be: ' if way.dry_run else ''}{answer['sentence']}")


def _amount_ucr(text: str) -> int:
    try:
        amount_ucr = parse_credits(text)
    except ValueError as error:
        _fail(f"the amount {error}", BAD_INPUT)
    if amount_ucr <= 0:
        _fail(f"the amount {format_credits(amount_ucr)} is not above zero", BAD_INPUT)
    return amount_ucr


def _instant_s(option: str, text: str) -> int:
    try:
        instant_s = parse_instant(text)
        format_instant(instant_s)  # an offset may carry year 9999 past what can be written
    except (ValueError, OverflowError) as error:
        _fail(f"{option} {text}: {error}", BAD_INPUT)
    return instant_s


def _fail(sentence: str, code: int) -> NoReturn:
    typer.echo(f"cohortd: {sentence}", err=True)
    raise typer.Exit(code)
