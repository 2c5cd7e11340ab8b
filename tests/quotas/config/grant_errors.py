"""Errors in grants and tranches: the text, what replaces it, and the error sentence."""

from __future__ import annotations

from .program_texts import ACME, BRIGHT

GRANT_ERRORS: dict[str, tuple[str, str, str]] = {
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
}
