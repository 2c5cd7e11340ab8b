"""Errors in pools, flavors and quotas: the text, its replacement, and the error sentence."""

from __future__ import annotations

from .program_texts import ACME, BRIGHT, CLEO

QUOTA_ERRORS: dict[str, tuple[str, str, str]] = {
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
}
