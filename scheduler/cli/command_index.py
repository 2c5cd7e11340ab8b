"""The index of commands: panels of the help, modules, names and one sentence for each command.

`cohortd --help` is written from this index alone, so that it imports no database, SDK or server.
The sentence is the first paragraph of the command's own help, and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping

PANELS: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "See what happens": {
        "scheduler.cli.look.inspect": {
            "status": (
                "Show every startup: its level, GPUs, credits and runway; then requests and "
                "notices."
            ),
            "explain": (
                "Explain the newest decisions about a startup or a server, or one decision by "
                "its number."
            ),
            "verify": (
                "Verify that nobody changed the book, and that its sums, charges and notices "
                "are right."
            ),
        },
        "scheduler.cli.look.reports": {
            "journal": (
                "Export all transfers: as CSV, as JSON (one per line), or in hledger's format."
            ),
        },
        "scheduler.cli.look.statements": {
            "statement": (
                "Show a startup's month: the opening balance, every line, and the closing balance."
            ),
        },
    },
    "Steer stops": {
        "scheduler.cli.stops.overrides": {
            "level": (
                "Forbid a startup new servers (closed), power off all of its servers (stopped), "
                "or reopen it."
            ),
            "exempt": (
                "Protect a startup or a server from every stop for a time, and cancel its notices."
            ),
            "freeze": "Stop no server for a time. Startups still get notices.",
            "maintenance": (
                "Suspend every action on Scaleway for a time. cohortd still meters and charges."
            ),
            "shortage": (
                "Record that Scaleway has no free GPUs for a pool. cohortd then reclaims none "
                "of its GPUs."
            ),
            "undo": (
                "Undo a stop: offer to start the server, refund its notice, and exempt it for a "
                "day."
            ),
            "approve": (
                "Let deferred stops happen now, although the disruption budget of this hour is "
                "used up."
            ),
            "audit": (
                "List every operator action, newest first: when, by whom, what changed and why."
            ),
        },
        "scheduler.cli.stops.notices": {
            "notice": "List, acknowledge, snooze and test notices.",
        },
        "scheduler.cli.stops.release_all": {
            "release-all": (
                "Give every closed startup its IAM rules back. Works without the daemon and "
                "program file."
            ),
        },
    },
    "Change credits and prices": {
        "scheduler.cli.credits.grants": {
            "grant": "Give a startup credits as a new grant.",
            "void": (
                "End a grant: return its unused credits to the sponsor, and print how much was "
                "used."
            ),
            "milestone": "Confirm a milestone, so that its tranche can be spent from now on.",
            "advance": "Let a startup spend the next tranche of a grant now, whole or in part.",
        },
        "scheduler.cli.credits.refunds": {
            "refund": "Refund the charges of an interval to the grants that paid them.",
            "transfer": (
                "Move credits between two startups of a cohort. The credits keep their expiry."
            ),
        },
        "scheduler.cli.credits.holds": {
            "hold": "Set credits aside for a purpose: place, settle, void, list.",
        },
        "scheduler.cli.credits.prices": {
            "price": "Show the rates in force, or accept another rate.",
        },
    },
    "Share GPUs": {
        "scheduler.cli.shares.requests": {
            "request": "Request GPUs of a pool, list the queue, or withdraw a request.",
        },
        "scheduler.cli.shares.allocate": {
            "allocate": (
                "Divide pools of GPUs among a tree of startups: JSON on stdin, JSON on stdout."
            ),
        },
    },
    "Set up and run": {
        "scheduler.cli.setup.run": {
            "init": (
                "Write a first program file from the organization's projects and running servers."
            ),
            "check": (
                "Check the program file, both keys, permissions, prices, the clock and the disk."
            ),
            "plan": "Show the changes that 'cohortd apply' would make. Nothing is changed.",
            "apply": (
                "Put the program file in force as a new version. Each new grant is posted once."
            ),
            "run": "Run the daemon until SIGTERM: it meters, charges, decides and stops servers.",
        },
        "scheduler.cli.setup.arm": {
            "arm": (
                "Switch from shadow to enforce mode, and list the servers that will be stopped."
            ),
            "disarm": (
                "Switch back to shadow mode: cohortd cancels every notice and acts on nothing."
            ),
            "shadow": (
                "List the stops that enforce mode would have made while the program was in "
                "shadow mode."
            ),
        },
        "scheduler.cli.setup.serve": {
            "serve": (
                "Serve the API until SIGTERM. It needs no key and no database, and writes only its "
                "inbox."
            ),
        },
        "scheduler.cli.access.tokens": {
            "token": "Create, list, rotate and revoke tokens of the API.",
        },
        "scheduler.demo.live": {
            "demo": (
                "Simulate a whole program in minutes, and compare the charges with the servers' "
                "true use."
            ),
        },
    },
}
"""By panel and module: the commands and groups that the module's `app` has, and their help."""
