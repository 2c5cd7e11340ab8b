"""Stop problems: servers that an intent could not power off or on, for the alarms of operators."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from quotas.model.observation import Server
from quotas.state.facts import TypedMessage
from quotas.state.notices import FAILED, Intent, IntentResult, Notice, NoticeState


def may_stop(server: Server) -> bool:
    """Whether the provider lists poweroff among what the server's state allows."""
    return not server.allowed_actions or "poweroff" in server.allowed_actions


@dataclass(frozen=True, slots=True)
class StopProblem:
    """A server that could not be stopped or powered on: the failed tries, and its state."""

    startup: str
    server: str
    state: str
    tries: int
    last: IntentResult | None


def stop_problems(
    notices: Iterable[Notice], intents: Iterable[Intent], seen: Mapping[str, Server]
) -> tuple[TypedMessage, ...]:
    """Each server that was to be stopped and could not be, with what stands in the way."""
    failed: dict[int | None, list[Intent]] = defaultdict(list)
    for intent in sorted(intents, key=lambda each: each.id or 0):
        if intent.state in FAILED and intent.notice_id is not None:
            failed[intent.notice_id].append(intent)
    found = []
    for notice in sorted(notices, key=lambda each: each.id or 0):
        server, tries = seen.get(notice.server_id), failed.get(notice.id, [])
        state, last = server.state if server else "gone", tries[-1].result if tries else None
        problem = StopProblem(notice.startup, notice.server_name, state, len(tries), last)
        if notice.state is NoticeState.RESTARTING and tries:
            found.append(TypedMessage("problem.restart", problem))
        elif notice.state is NoticeState.EXECUTING and server is not None and server.is_billable:
            if not may_stop(server):
                found.append(TypedMessage("problem.state", problem))
            elif tries:
                found.append(TypedMessage("problem.stop", problem))
    return tuple(found)
