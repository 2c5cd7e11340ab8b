"""The command `cohortd release-all`: it restores every revoked rule, without the daemon."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from quotas.book import Book
from quotas.iam.policies import Rule
from quotas.messages.catalogue.operators import policies_text
from scheduler.act.access import RestoredRules, outcomes
from scheduler.act.release_all import ReleaseResult, preview_release, release_all
from scheduler.cli.options import DEFAULT_STATE, Json, State, actor, connect_permissions, print_json
from scheduler.clock import SystemClock
from scheduler.config import ConfigError

REFUSED, UNREACHABLE = 1, 3
MAX_REASON_LENGTH = 500


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command("release-all")(release_all_command)


def release_all_command(
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept in the book.")],
    state: State = DEFAULT_STATE,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be given back; change nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Restore the IAM rules of every closed startup. Needs no daemon and no program file."""
    if not reason.strip() or len(reason) > MAX_REASON_LENGTH or not reason.isprintable():
        raise typer.BadParameter(f"--reason is one line of 1 to {MAX_REASON_LENGTH} characters")
    permissions = connect_permissions()
    if permissions is None:
        raise ConfigError(
            "there is no key for IAM: set SCW_IAM_ACCESS_KEY and SCW_IAM_SECRET_KEY, or give "
            "back the rules by hand as docs/permissions.md says"
        )
    book, clock = Book.open_existing(state), SystemClock()
    try:
        if dry_run:
            found = preview_release(book, permissions, clock)
        else:
            found = release_all(book, permissions, clock, reason.strip(), actor())
    finally:
        book.close()
    if as_json:
        print_json({"dry_run": dry_run, "startups": [_shown(each) for each in found]})
    else:
        _print_results(found, "would get back" if dry_run else "got back")
    failed = [each for each in found if each.error]
    if failed:
        raise typer.Exit(REFUSED if any(each.is_refused for each in failed) else UNREACHABLE)


def _print_results(found: list[ReleaseResult], verb: str) -> None:
    for each in found:
        if each.error:
            typer.echo(f"NO {each.startup}: {each.error}")
        for restored in each.restored:
            typer.echo(f"{each.startup}: {_restored_text(restored)} ({restored.policy_id})")
            for rule in restored.rules:
                typer.echo(f"  {verb}: {', '.join(rule.sets)} in {_where(rule)}")
    if not found:
        typer.echo("no rule of any startup is revoked")
    elif verb == "got back":
        typer.echo("a daemon in enforce mode closes again whoever is out of credits or time")


def _restored_text(restored: RestoredRules) -> str:
    return policies_text(outcomes([restored]))


def _where(rule: Rule) -> str:
    where = ", ".join(rule.project_ids) or f"organization {rule.organization_id}"
    return where + (f" if {rule.condition}" if rule.condition else "")


def _shown(each: ReleaseResult) -> dict[str, Any]:
    return {
        "startup": each.startup,
        "policies": [
            {**asdict(restored), "detail": _restored_text(restored)} for restored in each.restored
        ],
        "error": each.error,
    }
