"""Errors in the policy and in contacts: the text, its replacement, and the error sentence."""

from __future__ import annotations

from .program_texts import ACME

POLICY_ERRORS: dict[str, tuple[str, str, str]] = {
    "the minimum notice leaves time to act": (
        'minimum = "30m"',
        'minimum = "59s"',
        'policy.notice.minimum = "59s" leaves no time to act; write 1m or more.',
    ),
    "a duration has a unit": (
        'minimum = "30m"',
        'minimum = "30"',
        'policy.notice.minimum = "30" is not a duration; write it such as 90s, 30m, 1h30m or 7d.',
    ),
    "a threshold that is the same for every program is no key": (
        'minimum = "30m"',
        'reminders = ["1h"]',
        'policy.notice.reminders = ["1h"] is not a known key; known are minimum, exhaustion, end, '
        "quiet_hours, snooze_max, chain_heads.",
    ),
    "nor is a table of such thresholds": (
        "[policy.notice]",
        "[policy.price]\nfactor_max = 3\n[policy.notice]",
        "policy.price is not a known key; known are notice, stop, pacing, disruption_budget, "
        "standby, reclaim, self_advance.",
    ),
    "a notice of the end is no shorter than the minimum": (
        'minimum = "30m"',
        'end = ["7d", "10m"]',
        'policy.notice.end[1] = "10m" is shorter than the minimum notice of 00:30:00;'
        " write that or more.",
    ),
    "a contact is a URL": (
        "mailto://cto@example.com",
        "cto@example.com",
        f'{ACME}.contacts[0] = "cto@example.com" is not a contact; write a URL such as'
        " mailto://cto@example.com.",
    ),
    "a contact goes where cohortd can send": (
        "mailto://cto@example.com",
        "gotify://10.0.0.1/token",
        f'{ACME}.contacts[0] = "gotify://10.0.0.1/token" has a channel that cohortd does not'
        " know; write one of discord, gchat, http, https, mailto, mailtos, opsgenie,"
        " pagerduty, pover, slack, tgram, wxteams.",
    ),
    "a mail contact holds no password": (
        "mailto://cto@example.com",
        "mailto://cto:secret@example.com",
        f'{ACME}.contacts[0] = "mailto://cto:secret@example.com" is not a mail address; write'
        " it such as mailto://cto@example.com, without a password.",
    ),
    "a webhook holds no password": (
        "mailto://cto@example.com",
        "https://me:secret@example.com/hook",
        f'{ACME}.contacts[0] = "https://me:secret@example.com/hook" contains a password;'
        " remove it: cohortd signs each webhook instead.",
    ),
    "quiet hours are two times of a day": (
        'minimum = "30m"',
        'quiet_hours = "22-8"',
        'policy.notice.quiet_hours = "22-8" is not a pair of local times; write it such'
        ' as "22:00-08:00".',
    ),
    "quiet hours leave some of the day": (
        'minimum = "30m"',
        'quiet_hours = "08:00-08:00"',
        'policy.notice.quiet_hours = "08:00-08:00" ends when it begins; write two'
        " different times, or remove it.",
    ),
    **{
        f"what a startup may take ahead is a part: {text}": (
            "[policy.notice]",
            f"[policy]\nself_advance = {text}\n[policy.notice]",
            f'policy.self_advance = {text} is not a part from "0" to "1"; write it in quotes,'
            ' such as "0.5".',
        )
        for text in ('"1.5"', '"-0.5"', "0.5", '"half"', "1")
    },
}
