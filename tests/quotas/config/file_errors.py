"""Errors in keys, values, names and dates: the text, its replacement, the error sentence."""

from __future__ import annotations

from .program_texts import ACME, BRIGHT, CLEO

FILE_ERRORS: dict[str, tuple[str, str, str]] = {
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
}
