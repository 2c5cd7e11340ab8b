"""A good program file, and each way to spoil it with the error sentence that follows."""

from __future__ import annotations

GOOD = """\
[program]
name = "ai-startup-program"
timezone = "Europe/Paris"
budget = "350000"

[pool.h100]
gpus = 40
flavors = ["H100-1-80G@fr-par-2", "H100-SXM-8-80G@fr-par-2"]

[pool.l4]
gpus = 8
flavors = ["L4-1-24G@fr-par-2"]

[cohort.spring]
starts = 2027-01-05
ends = 2027-07-05

[cohort.spring.startup.acme]
project_id = "11111111-1111-4111-8111-111111111111"
weight = 1
nominal = { h100 = 8 }
limit = { h100 = 24 }
flavors = { h100 = ["H100-SXM-8-80G@fr-par-2"] }
contacts = ["mailto://cto@example.com"]
grants = [ { id = "acme-1", credits = "60000", tranches = "none" } ]

[cohort.spring.startup.bright]
projects = [ { id = "22222222-2222-4222-8222-222222222222" } ]
nominal = { h100 = 16 }
grants = [ { id = "bright-1", credits = "60000", expires = 2027-03-01 } ]

[cohort.summer]
starts = 2027-06-01
ends = 2027-12-01

[cohort.summer.startup.cleo]
project_id = "33333333-3333-4333-8333-333333333333"
nominal = { h100 = 16 }

[policy.notice]
minimum = "30m"
"""

ACME = "cohort.spring.startup.acme"
BRIGHT = "cohort.spring.startup.bright"
CLEO = "cohort.summer.startup.cleo"

BAD: dict[str, tuple[str, str, str]] = {
    "an unknown key suggests the nearest": (
        "weight = 1",
        "wieght = 1",
        f"{ACME}.wieght = 1 is not a known key; did you mean weight?",
    ),
    "an unknown table is an unknown key": (
        "[pool.l4]",
        "[pools.l4]",
        "pools is not a known key; did you mean pool?",
    ),
    "an unknown key like no other lists what is known": (
        'minimum = "30m"',
        "zzz = 1",
        "policy.notice.zzz = 1 is not a known key; known are minimum, exhaustion, end,"
        " quiet_hours, snooze_max, chain_heads.",
    ),
    "a missing key is named": (
        'budget = "350000"',
        "",
        "program.budget is missing; add it.",
    ),
    "a string is no whole number": (
        "weight = 1",
        'weight = "1"',
        f'{ACME}.weight = "1" is not a whole number; write digits without quotes or a decimal'
        " point.",
    ),
    "true is no whole number": (
        "weight = 1",
        "weight = true",
        f"{ACME}.weight = true is not a whole number; write digits without quotes or a decimal"
        " point.",
    ),
    "a float is no whole number": (
        "weight = 1",
        "weight = 1.0",
        f"{ACME}.weight = 1.0 is not a whole number; write digits without quotes or a decimal"
        " point.",
    ),
    "a weight is not negative": (
        "weight = 1",
        "weight = -1",
        f"{ACME}.weight = -1 is too small; write 0 or more.",
    ),
    "a limit is not negative": (
        "limit = { h100 = 24 }",
        "limit = { h100 = -24 }",
        f"{ACME}.limit.h100 = -24 is too small; write 0 or more.",
    ),
    "a pool has no fewer than no GPUs": (
        "gpus = 40",
        "gpus = -40",
        "pool.h100.gpus = -40 is out of range; write 0 to 10000000 GPUs.",
    ),
    "GPUs are whole": (
        "gpus = 40",
        'gpus = "40"',
        'pool.h100.gpus = "40" is not a whole number of GPUs; write one such as 40, or'
        " a list of steps.",
    ),
    "steps of capacity rise": (
        "gpus = 40",
        "gpus = [ { from = 2027-01-01, gpus = 40 }, { from = 2026-01-01, gpus = 41 } ]",
        "pool.h100.gpus[1].from = 2026-01-01 is not after the step before it; write the steps in"
        " rising order.",
    ),
    "prices are fixed or follow": (
        'timezone = "Europe/Paris"',
        'prices = "free"',
        "program.prices = \"free\" is not a known value; write 'fixed' or 'follow'.",
    ),
    "a mode is one of three": (
        'timezone = "Europe/Paris"',
        'mode = "on"',
        "program.mode = \"on\" is not a known value; write 'off', 'shadow' or 'enforce'.",
    ),
    "a timezone is known": (
        "Europe/Paris",
        "Europe/Pariss",
        'program.timezone = "Europe/Pariss" is not a known timezone; write a timezone'
        " such as Europe/Paris.",
    ),
    "a folder of timezones is none": (
        "Europe/Paris",
        "Europe",
        'program.timezone = "Europe" is not a known timezone; write a timezone such as'
        " Europe/Rome.",
    ),
    "a name is plain": (
        "[cohort.spring.startup.acme]",
        '[cohort.spring.startup."Acme Inc"]',
        'cohort.spring.startup."Acme Inc" is not a valid name; write 1 to 63 of a-z,'
        " 0-9 and -, and no - at the start.",
    ),
    "a project id is a UUID": (
        "11111111-1111-4111-8111-111111111111",
        "../servers",
        f'{ACME}.project_id = "../servers" is not a project id; copy the lower-case UUID from the'
        " console.",
    ),
    "a startup has a project": (
        'project_id = "11111111-1111-4111-8111-111111111111"',
        "",
        f"{ACME}.project_id is missing; add the UUID of its Scaleway Project.",
    ),
    "a startup names projects in one way": (
        "weight = 1",
        'projects = [ { id = "44444444-4444-4444-8444-444444444444" } ]',
        f'{ACME}.project_id = "11111111-1111-4111-8111-111111111111" and projects are both'
        " set; keep one of the two.",
    ),
    "one project is owned once at one instant": (
        "33333333-3333-4333-8333-333333333333",
        "11111111-1111-4111-8111-111111111111",
        f'{CLEO}.project_id = "11111111-1111-4111-8111-111111111111" also belongs to acme at'
        " 2027-05-31T22:00:00Z; give each project one owner, or write projects with from and"
        " until.",
    ),
    "a project ends after its start": (
        'projects = [ { id = "22222222-2222-4222-8222-222222222222" } ]',
        'projects = [ { id = "22222222-2222-4222-8222-222222222222", until = 2027-01-05 } ]',
        f"{BRIGHT}.projects[0].until = 2027-01-05 is not after its start 2027-01-04T23:00:00Z;"
        " write a later end.",
    ),
    "a startup's table is declared once": (
        "[cohort.spring.startup.bright]",
        "[cohort.spring.startup.acme]",
        f"{ACME} is declared twice (at line 27, column 28); rename one of the two or remove it.",
    ),
    "a startup's name is unique in the program": (
        "[cohort.summer.startup.cleo]",
        "[cohort.summer.startup.acme]",
        "cohort.summer.startup.acme is also the name of a startup in cohort spring;"
        " give one of them another name.",
    ),
    "broken TOML names its line": (
        "weight = 1",
        "weight = ",
        "the file is not valid TOML: Invalid value (at line 20, column 10); correct it there.",
    ),
    "a cohort ends after it starts": (
        "ends = 2027-07-05",
        "ends = 2027-01-05",
        "cohort.spring.ends = 2027-01-05 is not after the start 2027-01-04T23:00:00Z; write a"
        " later end.",
    ),
    "a local time has no instant": (
        "starts = 2027-01-05",
        "starts = 2027-01-05T00:00:00",
        "cohort.spring.starts = 2027-01-05 00:00:00 has no zone; write a date alone, or add Z or"
        " an offset like +01:00.",
    ),
    "a date is not in quotes": (
        "starts = 2027-01-05",
        'starts = "2027-01-05"',
        'cohort.spring.starts = "2027-01-05" is not a date; write it without quotes, such as'
        " 2027-01-05.",
    ),
    "a date is in our time": (
        "starts = 2027-01-05",
        "starts = 0001-01-01",
        "cohort.spring.starts = 0001-01-01 is out of range; write a year from 2000 to 2199.",
    ),
    "a grant is not negative": (
        'credits = "60000", tranches',
        'credits = "-60000", tranches',
        f'{ACME}.grants[0].credits = "-60000" is negative; write an amount above zero.',
    ),
    "a grant is not zero": (
        'credits = "60000", tranches',
        'credits = "0", tranches',
        f'{ACME}.grants[0].credits = "0" is zero; write an amount above zero, or remove it.',
    ),
    "a grant is no finer than a micro-credit": (
        'credits = "60000", tranches',
        'credits = "0.0000001", tranches',
        f'{ACME}.grants[0].credits = "0.0000001" is finer than a micro-credit (six decimals);'
        ' write it such as "60000" or "12.5".',
    ),
    "a digit beyond a Decimal's precision is not lost": (
        'credits = "60000", tranches',
        'credits = "1.00000000000000000000000000000001", tranches',
        f'{ACME}.grants[0].credits = "1.00000000000000000000000000000001" is not a plain'
        " decimal with at most six decimals; write it such as 12.5.",
    ),
    "a grant is a number": (
        'credits = "60000", tranches',
        'credits = "NaN", tranches',
        f'{ACME}.grants[0].credits = "NaN" is not a finite number of credits; write it such as'
        ' "60000" or "12.5".',
    ),
    "a grant is not too large for the book": (
        'credits = "60000", tranches',
        'credits = "9999999999999999", tranches',
        f'{ACME}.grants[0].credits = "9999999999999999" is larger than 2^62 micro-credits; write'
        ' it such as "60000" or "12.5".',
    ),
    "a grant is no float": (
        'credits = "60000", tranches',
        "credits = 60000.0, tranches",
        f"{ACME}.grants[0].credits = 60000.0 is not a string; write credits in quotes, such as"
        ' "60000".',
    ),
    "grants stay within the budget": (
        'budget = "350000"',
        'budget = "100000"',
        f'{BRIGHT}.grants[0].credits = "60000" raises the grants to 120000.00 credits, above the'
        " budget of 100000.00; lower a grant or raise program.budget.",
    ),
    "a grant id is used once": (
        'id = "bright-1"',
        'id = "acme-1"',
        f'{BRIGHT}.grants[0].id = "acme-1" is already the id of a grant of acme; choose a new id.',
    ),
    "a grant expires after it takes effect": (
        "expires = 2027-03-01",
        "expires = 2027-01-01",
        f"{BRIGHT}.grants[0].expires = 2027-01-01 is not after 2027-01-04T23:00:00Z; write a later"
        " instant.",
    ),
    "tranches have a kind": (
        'tranches = "none"',
        'tranches = "weekly"',
        f'{ACME}.grants[0].tranches = "weekly" is not a known value; write "none", "monthly" or a'
        " list of tranches.",
    ),
    "tranches are all dated or all milestones": (
        'tranches = "none"',
        'tranches = [{ at = 2027-02-01, credits = "1" }, { milestone = "demo", credits = "2" }]',
        f'{ACME}.grants[0].tranches = [{{"at": "2027-02-01", "credits": "1"}}, {{"milestone":'
        ' "demo", "credits": "2"}] mixes two kinds; give every tranche an at, or every'
        " one a milestone.",
    ),
    "tranches sum to their grant": (
        'tranches = "none"',
        'tranches = [{ at = 2027-02-01, credits = "1" }, { at = 2027-03-01, credits = "2.5" }]',
        f'{ACME}.grants[0].credits = "60000" is not the 3.50 credits of its tranches; write their'
        " sum, or correct a tranche.",
    ),
    "tranches are in rising order": (
        'credits = "60000", tranches = "none"',
        'credits = "3", tranches = [{ at = 2027-02-01, credits = "1" },'
        ' { at = 2027-02-01, credits = "2" }]',
        f"{ACME}.grants[0].tranches[1].at = 2027-02-01 is not after the tranche before it; write"
        " them in rising order.",
    ),
    "tranches lie within their grant": (
        'credits = "60000", tranches = "none"',
        'credits = "3", tranches = [{ at = 2027-02-01, credits = "1" },'
        ' { at = 2027-07-05, credits = "2" }]',
        f"{ACME}.grants[0].tranches[1].at = 2027-07-05 is outside the grant; write"
        " 2027-01-31T23:00:00Z or later, before 2027-07-04T22:00:00Z.",
    ),
    "a milestone has a name of its own": (
        'credits = "60000", tranches = "none"',
        'credits = "3", tranches = [{ milestone = "demo", credits = "1" },'
        ' { milestone = "demo", credits = "2" }]',
        f'{ACME}.grants[0].tranches[1].milestone = "demo" is already a milestone of this'
        " grant; give it another name.",
    ),
    "a milestone's last day lies within its grant": (
        'credits = "60000", tranches = "none"',
        'credits = "3", tranches = [{ milestone = "demo", credits = "3", by = 2027-07-06 }]',
        f"{ACME}.grants[0].tranches[0].by = 2027-07-06 is outside the grant; write after"
        " 2027-01-04T23:00:00Z, up to 2027-07-04T22:00:00Z.",
    ),
    "milestones last to the end of their grant": (
        'credits = "60000", tranches = "none"',
        'credits = "3", rollover = "none", tranches = [{ milestone = "demo", credits = "3" }]',
        f'{ACME}.grants[0].rollover = "none" is only for dated tranches; milestones last to the'
        ' grant\'s end: write "all".',
    ),
    "a rollover is between tranches": (
        'tranches = "none"',
        'rollover = { share = "0.5" }',
        f"{ACME}.grants[0].rollover needs tranches, and this grant has none; remove it.",
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
    "a rollover is of a known kind": (
        'tranches = "none"',
        'rollover = "some"',
        f'{ACME}.grants[0].rollover = "some" is not a known value; write "all", "none", {{'
        ' share = "0.5" } or { credits = "1000" }.',
    ),
    "a share is a part": (
        'tranches = "none"',
        'rollover = { share = "1" }',
        f'{ACME}.grants[0].rollover.share = "1" is not a part above 0 and below 1; write it'
        ' in quotes, such as "0.5".',
    ),
    "monthly parts are at least a micro-credit": (
        'credits = "60000", tranches = "none"',
        'credits = "0.000001", tranches = "monthly"',
        f'{ACME}.grants[0].credits = "0.000001" is too little for 7 monthly tranches; write more.',
    ),
    "a quota is in a pool of the program": (
        "limit = { h100 = 24 }",
        "limit = { h200 = 24 }",
        f"{ACME}.limit.h200 = 24 is for a pool that the program does not have; the pools are"
        " h100, l4.",
    ),
    "a flavor has a type and a zone": (
        '"L4-1-24G@fr-par-2"',
        '"L4-1-24G"',
        'pool.l4.flavors[0] = "L4-1-24G" is not a flavor; write TYPE@zone, such as'
        " H100-1-80G@fr-par-2.",
    ),
    "a flavor is in one pool": (
        '"L4-1-24G@fr-par-2"',
        '"H100-1-80G@fr-par-2"',
        'pool.l4.flavors[0] = "H100-1-80G@fr-par-2" is also in pool h100; remove one of the two.',
    ),
    "a flavor is in a zone that is swept": (
        '"L4-1-24G@fr-par-2"',
        '"L4-1-24G@it-mil-1"',
        'pool.l4.flavors[0] = "L4-1-24G@it-mil-1" is in a zone that cohortd does not'
        " observe; add the zone to program.zones.",
    ),
    "a startup's flavor is one of the pool's": (
        'flavors = { h100 = ["H100-SXM-8-80G@fr-par-2"] }',
        'flavors = { h100 = ["H100-SXM-4-80G@fr-par-2"] }',
        f'{ACME}.flavors.h100[0] = "H100-SXM-4-80G@fr-par-2" is not a flavor of pool h100; add'
        " it to pool.h100.flavors.",
    ),
    "one nominal quota fits into the pool": (
        "nominal = { h100 = 8 }",
        "nominal = { h100 = 41 }",
        f"{BRIGHT}.nominal.h100 = 16 raises the nominal quotas to 57 GPUs at"
        " 2027-01-04T23:00:00Z, and pool h100 has 40; lower a nominal quota or raise the pool's"
        " gpus.",
    ),
    "nominal quotas of cohorts that overlap fit together": (
        "nominal = { h100 = 8 }",
        "nominal = { h100 = 9 }",
        f"{CLEO}.nominal.h100 = 16 raises the nominal quotas to 41 GPUs at 2027-05-31T22:00:00Z,"
        " and pool h100 has 40; lower a nominal quota or raise the pool's gpus.",
    ),
    "nominal quotas fit when the pool shrinks": (
        "gpus = 40",
        "gpus = [ { from = 2027-01-01, gpus = 40 }, { from = 2027-02-01, gpus = 23 } ]",
        f"{BRIGHT}.nominal.h100 = 16 raises the nominal quotas to 24 GPUs at"
        " 2027-01-31T23:00:00Z, and pool h100 has 23; lower a nominal quota or raise the pool's"
        " gpus.",
    ),
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
}
