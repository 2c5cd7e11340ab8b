"""Helpers that ask one rule about a snapshot, with the context that a cycle would compute."""

from __future__ import annotations

from quotas.messages.catalogue.rules import level_text
from quotas.rules.context import Announcement, AnnouncementRule, Context, StopRule, Violation
from quotas.rules.prepare import prepare
from quotas.rules.registry import find_restriction
from quotas.state.snapshot import Snapshot


def context_of(snapshot: Snapshot) -> Context:
    """The context of a cycle that knows the snapshot."""
    return prepare(snapshot, snapshot.requests)


def violations(rule: StopRule, snapshot: Snapshot) -> list[Violation]:
    """What a stop rule finds."""
    return list(rule.find(context_of(snapshot)))


def announcements(rule: AnnouncementRule, snapshot: Snapshot) -> list[Announcement]:
    """What an announcement rule finds."""
    return list(rule.find(context_of(snapshot)))


def level(snapshot: Snapshot, startup: str) -> tuple[str, str]:
    """The startup's level now, and the reason for it."""
    return level_text(find_restriction(context_of(snapshot), startup))
