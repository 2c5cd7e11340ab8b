"""Commands about prices: show the rates in force, and put another rate in force."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from quotas.book import Book
from quotas.book.actions.prices import PriceCommand
from quotas.book.cycle.state import read_prices
from quotas.metering.prices import SPONSOR, STARTUP, Prices
from quotas.model.units import format_credits, format_instant
from scheduler.cli.commands import Answer, answer_command, book_command
from scheduler.cli.options import AsOf, fail, parse_amount, parse_instant_option
from scheduler.clock import SystemClock
from scheduler.views.json_fields import json_fields

app = typer.Typer(
    name="price", no_args_is_help=True, help="Show the rates in force, or accept another rate."
)


@answer_command(app, "list")
def list_prices(book: Book, as_of: AsOf = None) -> Answer:
    """Show each flavor's rate in force, its start, its source and Scaleway's list price."""
    at_s = SystemClock().now_s() if as_of is None else parse_instant_option("--as-of", as_of)
    with book.reading() as connection:
        rows = rates_at(read_prices(connection), at_s)
    lines = []
    for row in rows:
        rate = f"{row['flavor']:28} {row['credits_per_hour']:>12} an hour since {row['since']}"
        differs = f"; listed at {row['listed']} since {row['listed_since']}" * row["differs"]
        planned = "".join(f"; {p['credits_per_hour']} from {p['from']}" for p in row["planned"])
        lines.append(f"{rate} ({row['source']}){differs}{planned}")
    return rows, lines or ["no price was known at that instant"]


def rates_at(prices: Prices, at_s: int) -> list[dict[str, Any]]:
    """The rates in force at an instant, as the book was then, JSON-ready, by flavor."""
    rows = []
    for flavor, versions in sorted(prices.versions.items()):
        known = tuple(v for v in versions if v.recorded_s <= at_s)
        in_force = Prices({flavor: known}).in_force(flavor, at_s)
        if in_force is None:
            continue
        past = [each for each in prices.listings.get(flavor, ()) if each.from_s <= at_s]
        last = past[-1] if past else None
        planned = sorted((v for v in known if v.from_s > at_s), key=lambda v: (v.from_s, v.id))
        rows.append(
            {
                "flavor": flavor,
                **_rate(in_force, since="from_s"),
                "source": in_force.source,
                "listed": format_credits(last.rate_ucr_per_h) if last else None,
                "listed_since": format_instant(last.from_s) if last else None,
                "differs": bool(last and last.rate_ucr_per_h != in_force.rate_ucr_per_h),
                "planned": [_rate(version, **{"from": "from_s"}) for version in planned],
            }
        )
    return rows


def _rate(version: Any, **start: str) -> dict[str, Any]:
    return json_fields(version, "", credits_per_hour="rate_ucr_per_h", **start)


@book_command(app)
def accept(
    flavor: Annotated[str, typer.Argument(help="Such as H100-1-80G@fr-par-2.")],
    credits_per_hour: Annotated[str, typer.Argument(help="Credits an hour, such as 2.8665.")],
    from_: Annotated[
        str, typer.Option("--from", help="First instant, with its time zone. It may be past.")
    ],
    to: Annotated[
        str, typer.Option("--to", help="Who pays if past charges rise: sponsor or startup.")
    ] = SPONSOR,
    confirm: Annotated[
        str | None, typer.Option("--confirm", help="The flavor, if the price changes a lot.")
    ] = None,
) -> PriceCommand:
    """Put a rate in force from an instant on. Charges after a past instant are corrected."""
    if to not in (SPONSOR, STARTUP):
        fail(f"--to {to!r} is not known; write {SPONSOR} or {STARTUP}")
    rate = parse_amount(credits_per_hour)
    return PriceCommand(flavor, rate, parse_instant_option("--from", from_), to, confirm)
