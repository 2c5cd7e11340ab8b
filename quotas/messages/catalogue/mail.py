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


TEXTS: Texts = {
    "mail.test.subject": "test notice: please acknowledge",
    "mail.notice.subject": lambda f: f.stops,
    "mail.reminder.subject": "reminder: {stops}",
    "mail.extended.subject": "postponed: {stops}",
    "mail.snoozed.subject": "snoozed: {stops}",
    "mail.stopping.subject": "{what} is being stopped now",
    "mail.would-stop.subject": "{what} would be stopped now",
    "mail.executed.subject": "{what} was stopped",
    "mail.cancelled.subject": "cancelled: {what} is not stopped",
    "mail.deferred.subject": "on hold: {what} is not stopped yet",
    "mail.restarting.subject": "{what} is being powered on again",
    "mail.restarted.subject": "{what} runs again",
    "mail.announced.subject": "{notice.rule}: {when}",
    f"mail.{BREACHED}.subject": "broken promise: {what} had less notice than was promised",
    "mail.cancelled.closing": (
        "This notice ({notice.id}) is cancelled: its cause ended. Nothing is stopped."
    ),
    "mail.executed.closing": (
        "It was stopped, as notice {notice.id} announced. Its volumes are kept; you may start it "
        "again once the cause has ended."
    ),
    "mail.deferred.closing": (
        "Too many servers were due at once. This one runs on until the stops of the last hour "
        "leave room for it, or an operator approves its stop."
    ),
    "mail.restarting.closing": (
        "cohortd asks Scaleway to power the server on. If Scaleway has none free, cohortd "
        "asks again later."
    ),
    "mail.restarted.closing": (
        "The server is charged again from now on. If it has a scratch disk, the disk is empty."
    ),
    f"mail.{BREACHED}.closing": (
        "Notice {notice.id} was not kept: cohortd stopped its server before the deadline, or no "
        "channel of {notice.startup} took the notice in time. 'cohortd explain {notice.startup}' "
        "shows which of the two happened, and the missing time. That time is refunded when the "
        "server is off."
    ),
    "mail.acknowledge": (
        "To acknowledge: use the portal or 'cohortctl notices ack {notice.id}', or tell your "
        "operator."
    ),
    "mail.acknowledge-copy": "To acknowledge: cohortd notice ack {notice.id}.",
    "mail.copy": "This is the operator's copy; {notice.startup} gets its own.",
    "mail.shadow-copy": "Shadow mode: nothing is touched, and the startup is not told.",
    f"mail.{BREACHED}.copy": "{notice.startup} is not told of this by cohortd: tell it in person.",
}
