"""Texts of mails about notices: subjects, closing lines, and the line of an operator's copy."""

from __future__ import annotations

from dataclasses import dataclass

from quotas.messages.catalogue.texts import Texts
from quotas.messages.routing import BREACHED
from quotas.model.program import Mode
from quotas.state.notices import Notice


@dataclass(frozen=True, slots=True)
class Mail:
    """What the fixed parts of a mail name: the notice, and when it stops what, in local time."""

    notice: Notice
    what: str
    when: str

    @property
    def stops(self) -> str:
        """What happens at the deadline."""
        verb = "would stop" if self.notice.mode is Mode.SHADOW else "stops"
        return f"{self.what} {verb} {self.when}"


def _executed(f: Mail) -> str:
    return (
        f"It was stopped, as notice {f.notice.id} announced. Its volumes are kept; you may start "
        "it again once the cause has ended."
    )


def _breached(f: Mail) -> str:
    startup = f.notice.startup
    return (
        f"Notice {f.notice.id} was not kept: we stopped its server before the deadline, or no "
        f"channel of {startup} took a word of it by then. 'cohortd explain {startup}' says which, "
        "and by how much; that is refunded when the server is off."
    )


def _acknowledge(f: Mail) -> str:
    return f"To acknowledge: cohortd notice ack {f.notice.id}, or tell your operator."


TEXTS: Texts = {
    "mail.test.subject": "test notice: please acknowledge",
    "mail.notice.subject": lambda f: f.stops,
    "mail.reminder.subject": lambda f: f"reminder: {f.stops}",
    "mail.extended.subject": lambda f: f"postponed: {f.stops}",
    "mail.snoozed.subject": lambda f: f"snoozed: {f.stops}",
    "mail.stopping.subject": lambda f: f"{f.what} is being stopped now",
    "mail.would-stop.subject": lambda f: f"{f.what} would be stopped now",
    "mail.executed.subject": lambda f: f"{f.what} was stopped",
    "mail.cancelled.subject": lambda f: f"cancelled: {f.what} is not stopped",
    "mail.deferred.subject": lambda f: f"on hold: {f.what} is not stopped yet",
    "mail.restarting.subject": lambda f: f"{f.what} is being powered on again",
    "mail.restarted.subject": lambda f: f"{f.what} runs again",
    "mail.announced.subject": lambda f: f"{f.notice.rule}: {f.when}",
    f"mail.{BREACHED}.subject": lambda f: (
        f"broken promise: {f.what} had less notice than was promised"
    ),
    "mail.cancelled.closing": lambda f: (
        f"This notice ({f.notice.id}) is cancelled: its cause ended. Nothing is stopped."
    ),
    "mail.executed.closing": _executed,
    "mail.deferred.closing": (
        "Too many servers were due at once: it runs on until the stops of the last hour leave "
        "room for it, or an operator approves it."
    ),
    "mail.restarting.closing": (
        "Scaleway is asked to power it on; where it has no such server free, again later."
    ),
    "mail.restarted.closing": (
        "It is charged again from now on. Its scratch disk, where it has one, is empty."
    ),
    f"mail.{BREACHED}.closing": _breached,
    "mail.acknowledge": _acknowledge,
    "mail.copy": lambda f: (
        f"This is the operator's copy; {f.notice.startup} is told on its own channels."
    ),
    "mail.shadow-copy": "Shadow mode: nothing is touched, and the startup is not told.",
    f"mail.{BREACHED}.copy": lambda f: (
        f"{f.notice.startup} is not told of this by cohortd: tell it in person."
    ),
}
