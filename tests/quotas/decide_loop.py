"""A desk that plays book and cloud around `decide`, cycle by cycle, in memory."""

from __future__ import annotations

from dataclasses import replace

from quotas.enforcement.decide import DecideResult, decide
from quotas.ledger.balance import balance
from quotas.ledger.posting import post_due
from quotas.ledger.transfers import GrantBalance
from quotas.metering.runs import Run, meter
from quotas.model.observation import Server
from quotas.model.program import Program
from quotas.state.notices import LIVE_NOTICES, Intent, Notice
from quotas.state.requests import Request
from quotas.state.snapshot import Enforcement, Overuse, Snapshot
from tests.builders import CATALOGUE, TO_DIVIDE, Z, seen, unknown


class DecideLoop:
    """Keeps what the book would keep, and powers off what it is told to, if `obeys`."""

    def __init__(
        self, program: Program, grants: list[GrantBalance], *servers: Server, obeys: bool = True
    ) -> None:
        self.program, self.grants, self.obeys = program, grants, obeys
        self.servers = {server.id: server for server in servers}
        self.now_s = 0
        self.dark = False
        self.runs: dict[str, Run] = {}
        self.confirmed: dict[str, int] = {}
        self.notices: dict[int, Notice] = {}
        self.intents: dict[int, Intent] = {}
        self.requests: dict[int, Request] = {}
        self.overuses: dict[tuple[str, str], Overuse] = {}
        self.decided: DecideResult | None = None

    def cycle(self, step_s: int = 30) -> DecideResult:
        """One cycle, `step_s` after the last: observe, meter, charge, decide, commit, act."""
        self.now_s += step_s
        sweep = unknown(self.now_s) if self.dark else seen(self.now_s, *self.servers.values())
        result = meter(self.program, CATALOGUE, self.runs.values(), self.confirmed, [sweep])
        posting = post_due(self.program, self.grants, result)
        self.confirmed = dict(result.confirmed)
        self.grants = list(posting.grants)
        policy = self.program.policy
        reserve_s = policy.minimum_notice_s + 30 + policy.stop_latency_s
        names = sorted({s.name for s in self.program.startups()})
        snapshot = Snapshot(
            now_s=self.now_s,
            program=self.program,
            sweeps={Z: sweep},
            confirmed=self.confirmed,
            runs=posting.runs,
            balances={
                name: balance(
                    name, self.now_s, self.grants, posting.runs.values(), self.confirmed, reserve_s
                )
                for name in names
            },
            notices=tuple(n for n in self.notices.values() if n.state in LIVE_NOTICES),
            intents=self._known_intents(),
            announced=self._announced(),
            stop_latency_s=policy.stop_latency_s,
            requests=tuple(r for r in self.requests.values() if r.is_live),
            overuses=tuple(self.overuses.values()),
            enforcement=self.enforcement(),
            **TO_DIVIDE,
        )
        self.decided = decide(snapshot)
        self.runs = {
            run.id: run
            for run in posting.runs.values()
            if run.end_s is None or run.posted_until_s < run.end_s
        }
        self._commit(self.decided)
        self._act()
        return self.decided

    def until(self, instant_s: int, step_s: int = 30) -> list[DecideResult]:
        """Cycles up to an instant."""
        return [self.cycle(step_s) for _ in range((instant_s - self.now_s) // step_s)]

    def states(self) -> list[str]:
        """State of each notice that names a server, in the order given."""
        return [n.state for n in self.notices.values() if n.server_id]

    def enforcement(self) -> Enforcement:
        """What was stopped before: the last notice of each subject whose server went off."""
        off = {n.subject: n for n in self.notices.values() if n.off_s is not None}
        return Enforcement(past=tuple(off.values()))

    def _known_intents(self) -> tuple[Intent, ...]:
        live = {i for i, n in self.notices.items() if n.state in LIVE_NOTICES}
        return tuple(i for i in self.intents.values() if i.is_live or i.notice_id in live)

    def _announced(self) -> frozenset[tuple[str, str]]:
        return frozenset(
            (n.startup, n.episode)
            for n in self.notices.values()
            if (n.mode == self.program.mode or self.program.mode != "enforce")
            and (
                n.state == "announced"
                or (n.rule == "credits" and n.state in {"executing", "executed"})
            )
        )

    def _commit(self, decided: DecideResult) -> None:
        for known, each in [
            *((self.notices.get(n.id or 0), n) for n in decided.notices),
            *((self.intents.get(i.id or 0), i) for i in decided.intents),
        ]:
            assert known is None or known.state in each.stored_states, f"{known} to {each.state}"
        for notice in decided.notices:
            id = notice.id or len(self.notices) + 1
            self.notices[id] = replace(notice, id=id)
        for intent in decided.intents:
            id = intent.id or len(self.intents) + 1
            self.intents[id] = replace(intent, id=id)
        for request in decided.requests:
            assert request.id is not None
            self.requests[request.id] = request
        for overuse in decided.overuses:
            self.overuses[overuse.startup, overuse.pool] = overuse
            if overuse.ended_s is not None:
                del self.overuses[overuse.startup, overuse.pool]

    def asks(self, startup: str, gpus: int, duration_s: int = 7200) -> Request:
        """A startup asks for GPUs of the pool, from now on."""
        id = len(self.requests) + 1
        made = Request(startup, "h100", gpus, duration_s, "", "cto", self.now_s, id=id)
        self.requests[id] = made
        return made

    def _act(self) -> None:
        for id, intent in self.intents.items():
            if intent.state != "pending":
                continue
            self.intents[id] = replace(intent, state="sent", sent_s=self.now_s)
            if self.obeys:
                server = self.servers[intent.server_id]
                changed = replace(server, state="stopped", modified_s=self.now_s)
                self.servers[intent.server_id] = changed
