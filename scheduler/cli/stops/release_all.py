"""The command `cohortd release-all`: it restores every revoked rule, without the daemon."""

from __future__ import annotations

from dataclasses import asdict

import typer

from quotas.book import Book
from quotas.iam.policies import Rule
from quotas.messages.catalogue.operators import policies_text
from scheduler.act.access import RestoredRules, outcomes
from scheduler.act.release_all import ReleaseResult, preview_release, release_all
from scheduler.cli.connections import connect_permissions
from scheduler.cli.options import (
    DEFAULT_STATE,
    REFUSED,
    UNREACHABLE,
    DryRun,
    Json,
    Reason,
    State,
    actor,
    parse_reason,
    print_json,
)
from scheduler.clock import SystemClock
from scheduler.config import ConfigError

app = typer.Typer()


@app.command("release-all")
def release_all_command(
    reason: Reason, state: State = DEFAULT_STATE, dry_run: DryRun = False, as_json: Json = False
) -> None:
    """Give every closed startup its IAM rules back. Works without the daemon and program file."""
    why = parse_reason(reason)
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
            found = release_all(book, permissions, clock, why, actor())
    finally:
        book.close()
    if as_json:
        startups = [
            {"startup": r.startup, "policies": [asdict(p) for p in r.restored], "error": r.error}
            for r in found
        ]
        print_json({"dry_run": dry_run, "startups": startups})
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
        typer.echo("a daemon in enforce mode closes startups again that are out of credits or time")


def _restored_text(restored: RestoredRules) -> str:
    return policies_text(outcomes([restored]))


def _where(rule: Rule) -> str:
    where = ", ".join(rule.project_ids) or f"organization {rule.organization_id}"
    return where + (f" if {rule.condition}" if rule.condition else "")
