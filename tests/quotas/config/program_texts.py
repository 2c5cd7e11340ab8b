"""A valid program file, and the paths of its startups."""

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
