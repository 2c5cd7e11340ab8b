"""The command `cohortd release-all`: it restores every revoked rule, without the daemon."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import typer

from quotas.book import Book
from quotas.iam.policies import Rule
from quotas.messages.catalogue.operators import policies_text
from scheduler.act.access import outcomes
from scheduler.act.release_all import ReleaseResult, preview_release, release_all
from scheduler.cli import options
from scheduler.cli.connections import connect_permissions
from scheduler.clock import SystemClock
from scheduler.config import ConfigError

app = typer.Typer()


@app.command("release-all")
def release_all_command(
    reason: options.Reason,
    state: options.State = options.DEFAULT_STATE,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Give every closed startup its IAM rules back. Works without the daemon and program file."""
    why = options.parse_reason(reason)
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
            found = release_all(book, permissions, clock, why, options.actor())
    finally:
        book.close()
    startups = [
        {"startup": r.startup, "policies": [asdict(p) for p in r.restored], "error": r.error}
        for r in found
    ]
    lines = _lines(found, "would get back" if dry_run else "got back")
    options.print_answer({"dry_run": dry_run, "startups": startups}, lines, as_json=as_json)
    failed = [each for each in found if each.error]
    if failed:
        raise typer.Exit(
            options.REFUSED if any(each.is_refused for each in failed) else options.UNREACHABLE
        )


def _lines(found: list[ReleaseResult], verb: str) -> Iterator[str]:
    for each in found:
        if each.error:
            yield f"NO {each.startup}: {each.error}"
        for restored in each.restored:
            text = policies_text(outcomes([restored]))
            yield f"{each.startup}: {text} ({restored.policy_id})"
            for rule in restored.rules:
                yield f"  {verb}: {', '.join(rule.sets)} in {_where(rule)}"
    if not found:
        yield "no rule of any startup is revoked"
    elif verb == "got back":
        yield "a daemon in enforce mode closes startups again that are out of credits or time"


def _where(rule: Rule) -> str:
    where = ", ".join(rule.project_ids) or f"organization {rule.organization_id}"
    return where + (f" if {rule.condition}" if rule.condition else "")
