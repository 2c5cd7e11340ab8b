"""plan and apply: which program files are put in force, and which are refused."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from uuid import UUID

import pytest

from quotas.book.cycle import commit
from quotas.book.session import FILE_NAME, Book
from quotas.config.load import parse_program
from scheduler.cli.setup import run
from tests.scheduler.harness import Harness, offer, server

from .command import cohortd
from .operator_env import H100, PROGRAM, PROJECTS, ZONE, OperatorEnv

BIRCH = PROGRAM.index("[cohort.spring.startup.birch]")
ACME, KEYS = "cohort.spring.startup.acme", "cohort.spring.startup"
BAD = {
    "a wrong type": ("gpus = 8", 'gpus = "8"', "pool.h100.gpus", '"8"'),
    "an unknown key": ("budget =", "budgte =", "program.budgte", "did you mean budget?"),
    "a startup twice": (".birch]", ".acme]", ACME, "declared twice"),
    "a project of two": (PROJECTS[1], PROJECTS[0], f"{KEYS}.birch.project_id", "belongs to acme"),
    "nominal above the pool": ("gpus = 8", "gpus = 7", f"{KEYS}.birch.nominal.h100", "8 GPUs"),
    "an end before its start": ("2027-07-05", "2026-07-05", "cohort.spring.ends", "2026-07-05"),
    "a negative grant": ('"1000"', '"-1000"', f"{ACME}.grants[0].credits", '"-1000"'),
    "a grant finer than a micro": ('"1000"', '"0.0000001"', f"{ACME}.grants[0].credits", "0000001"),
    "grants above the budget": ('"5000"', '"2999"', f"{KEYS}.birch.grants[0].credits", "3000"),
    "no flavor at all": (f'"{H100}@{ZONE}"', '"H100"', "pool.h100.flavors[0]", '"H100"'),
    "a flavor of no pool": (
        'nominal = { h100 = 4 }\ngrants = [ { id = "acme',
        f'flavors = {{ h100 = ["L4-1-24G@{ZONE}"] }}\ngrants = [ {{ id = "acme',
        f"{ACME}.flavors.h100[0]",
        f'"L4-1-24G@{ZONE}"',
    ),
    "an unknown pool": ("nominal = { h100 = 4 }", "nominal = { b300 = 4 }", "nominal.b300", "h100"),
    "no TOML": ("[program]", "[program", "TOML", "line 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_one_sentence_and_changes_nothing(
    case: str, operator_env: OperatorEnv
) -> None:
    """plan and apply exit 2 naming file, key and value; the book is as it was."""
    before, after, key, value = BAD[case]
    assert before in PROGRAM
    operator_env.write(PROGRAM.replace(before, after, 1))
    book = operator_env.in_force()
    for ran in (operator_env.run("apply", "--json"), operator_env.run("plan")):
        assert ran.code == 2 and ran.out == ""
        assert ran.err.startswith(f"cohortd: {operator_env.file}: ") and ran.err.count("\n") == 1
        assert key in ran.err and value in ran.err
        assert ran.err.rstrip().endswith((".", "?"))
    assert operator_env.in_force() == book
    assert operator_env.run("status").code == 0


RISKS = {
    "a startup leaves": (PROGRAM[BIRCH:], "", "cohort.spring.startup.birch"),
    "the mode is enforce": ("budget", 'mode = "enforce"\nbudget', "program.mode"),
    "the cohort ends earlier": ("2027-07-05", "2027-06-05", "cohort.spring.ends"),
}


@pytest.mark.parametrize("case", RISKS)
def test_a_risky_change_needs_the_programs_name(case: str, operator_env: OperatorEnv) -> None:
    """plan marks a dangerous change; apply exits 1 until --confirm names the program."""
    before, after, path = RISKS[case]
    text = PROGRAM.replace(before, after, 1)
    if case == "the cohort ends earlier":  # its grants keep their end: only the cohort moves
        text = text.replace('" }', '", expires = 2027-07-05 }')
    operator_env.write(text)
    planned = operator_env.run("plan")
    assert planned.code == 0 and f"! {path}: " in planned.out
    changes = operator_env.run("plan", "--json").json
    assert [c["path"] for c in changes if c["needs_confirmation"]] == [path]
    book = operator_env.in_force()
    for refused in (operator_env.run("apply"), operator_env.run("apply", "--confirm", "other")):
        assert refused.code == 1 and refused.out == ""
        assert path in refused.err and "--confirm trial" in refused.err
    env = {"SCW_ACCESS_KEY": "SCW" + "0" * 17, "SCW_SECRET_KEY": str(UUID(int=1))}
    env["SCW_DEFAULT_ORGANIZATION_ID"] = str(UUID(int=2))
    started = operator_env.run(
        "run", "--program", operator_env.file, "--listen", "127.0.0.1:0", env=env
    )
    assert started.code == 1 and f"{path} would" in started.err and "apply --confirm" in started.err
    assert operator_env.in_force() == book
    assert operator_env.run("apply", "--confirm", "trial", "--json").json["version"] == 2
    assert operator_env.run("plan", "--json").json == [] and operator_env.run("verify").code == 0


SMALL = f'flavors = ["{H100}@{ZONE}"]'
NO_POOL = PROGRAM.replace("nominal = { h100 = 4 }\n", "").replace("h100", "other")
IN_USE = {
    "a flavor is renamed": (
        PROGRAM.replace(SMALL, f'flavors = ["L4-1-24G@{ZONE}"]'),
        {"pool.h100.flavors", f"{ACME}.flavors.h100"},
    ),
    "a pool is taken out": (
        NO_POOL.replace(SMALL, f'flavors = ["L4-1-24G@{ZONE}"]'),
        {
            *("pool.h100.gpus", "pool.h100.flavors"),
            *(f"{ACME}.nominal.h100", f"{ACME}.flavors.h100"),
        },
    ),
}


@pytest.mark.parametrize("case", IN_USE)
def test_what_runs_is_asked_about_by_the_pools_in_force(
    case: str, operator_env: OperatorEnv
) -> None:
    """While a server runs, plan marks the loss of its flavor or pool, and apply asks."""
    text, paths = IN_USE[case]
    operator_env.write(text)
    unused = [c["path"] for c in operator_env.run("plan", "--json").json if c["needs_confirmation"]]
    assert unused == []
    book = Book.open_existing(operator_env.state)
    harness = Harness(parse_program(PROGRAM, "program.toml"), book)
    harness.cloud.offers_of[ZONE] = (replace(offer(), commercial_type=H100, gpus=1),)
    harness.cloud.add(server(project_id=PROJECTS[0], commercial_type=H100))
    harness.run()
    book.close()
    marked = {c["path"] for c in operator_env.run("plan", "--json").json if c["needs_confirmation"]}
    assert marked == paths
    refused = operator_env.run("apply")
    assert refused.code == 1 and all(path in refused.err for path in paths)


def test_a_file_that_lets_an_old_word_count_again_is_marked(operator_env: OperatorEnv) -> None:
    """After arm and mode off by file, "shadow" would enforce: plan says so, and apply asks."""
    assert operator_env.run("arm", "--force", "--reason", "the pilot").code == 0
    operator_env.write(PROGRAM.replace("budget", 'mode = "off"\nbudget', 1))
    assert operator_env.run("apply").code == 0
    operator_env.write(PROGRAM)
    (change,) = operator_env.run("plan", "--json").json
    assert change["needs_confirmation"] and (change["before"], change["after"]) == ("off", "shadow")
    assert change["reason"].startswith("cohortd will stop servers, because it is armed: ")
    assert change["reason"].endswith(": the pilot")
    assert operator_env.run("apply").code == 1
    assert operator_env.run("disarm", "--reason", "not yet").code == 0
    assert operator_env.run("apply").code == 0


def test_applying_twice_posts_and_changes_nothing(operator_env: OperatorEnv) -> None:
    """Applying the same file again adds no version, and posts no grant again."""
    book = operator_env.in_force()
    assert operator_env.run("apply", "--json").json == {"version": 1, "changes": []}
    assert operator_env.in_force() == book


def test_a_changed_grant_is_refused_naming_void(operator_env: OperatorEnv) -> None:
    """A posted grant cannot change: the message names void and a new id, whatever is confirmed."""
    operator_env.write(PROGRAM.replace('"1000"', '"1500"'))
    book = operator_env.in_force()
    for ran in (operator_env.run("plan"), operator_env.run("apply", "--confirm", "trial")):
        assert ran.code == 2 and ran.err.count("\n") == 1
        assert f"{ACME}.grants.acme-1.credits = 1500.00" in ran.err
        assert "void acme-1" in ran.err and "new id" in ran.err
    assert operator_env.in_force() == book


def test_what_was_granted_before_counts_in_the_budget(operator_env: OperatorEnv) -> None:
    """The grants of a former startup count: 2000 and 4000 more are above 5000."""
    joins = PROGRAM[BIRCH:].replace("birch", "cedar").replace('"2000"', '"4000"')
    operator_env.write(PROGRAM[:BIRCH] + joins)
    book = operator_env.in_force()
    for ran in (operator_env.run("plan"), operator_env.run("apply", "--confirm", "trial")):
        assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
        assert "program.budget = 5000.00 is below the 7000.00 credits" in ran.err
    assert operator_env.in_force() == book
    operator_env.write((PROGRAM[:BIRCH] + joins).replace('"5000"', '"7000"'))
    assert operator_env.run("apply", "--confirm", "trial").code == 0


def test_a_file_that_changes_nothing_is_planned_and_applied_above_the_budget(
    operator_env: OperatorEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is in force already needs no confirmation, also if it is above the budget."""
    joins = PROGRAM[BIRCH:].replace("birch", "cedar").replace('"2000"', '"4000"')
    operator_env.write(PROGRAM[:BIRCH] + joins)
    with monkeypatch.context() as before:
        for module in (commit, run):
            before.setattr(module, "check_program_grants", lambda *_: None)
        assert operator_env.run("apply", "--confirm", "trial").code == 0
    book = operator_env.in_force()
    assert operator_env.run("plan", "--json").json == []
    assert operator_env.run("apply", "--json").json == {"version": 2, "changes": []}
    assert operator_env.in_force() == book


def test_verify_names_the_transfer_that_was_tampered_with(operator_env: OperatorEnv) -> None:
    """An amount that was changed behind a dropped trigger is found, with the exit code."""
    untouched = cohortd("verify", "--state", operator_env.state)
    assert untouched.code == 0 and "2 transfers are right" in untouched.out
    with sqlite3.connect(operator_env.state / FILE_NAME) as book:
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            book.execute("UPDATE entry SET amount_ucr = amount_ucr * 2")
        book.execute("DROP TRIGGER entry_refuses_update")
        book.execute("UPDATE entry SET amount_ucr = amount_ucr * 2 WHERE transfer_id = 2")
        key = book.execute("SELECT key FROM transfer WHERE id = 2").fetchone()[0]
    ran = cohortd("verify", "--state", operator_env.state)
    assert ran.code == 1 and f"the book is wrong: transfer 2 ({key}): " in ran.err
    verified = operator_env.run("verify", "--json")
    assert verified.code == 1 and verified.json["ok"] is False
    assert verified.json["fault"].startswith("transfer 2 ")


@pytest.mark.parametrize("cohort", ["spring", "autumn"])
def test_the_name_of_a_startup_that_left_is_not_given_to_another(
    cohort: str, operator_env: OperatorEnv
) -> None:
    """birch leaves; another project is refused under its name, in the same and in a new cohort."""
    operator_env.write(PROGRAM[:BIRCH])
    assert operator_env.run("apply", "--confirm", "trial").code == 0
    book = operator_env.in_force()
    other = PROGRAM[BIRCH:].replace(PROJECTS[1], PROJECTS[2]).replace("birch-1", "birch-2")
    new = "[cohort.autumn]\nstarts = 2027-08-01\nends = 2028-01-05\n" * (cohort == "autumn")
    operator_env.write(PROGRAM[:BIRCH] + new + other.replace("cohort.spring", f"cohort.{cohort}"))
    for ran in (operator_env.run("plan"), operator_env.run("apply", "--confirm", "trial")):
        assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
        assert f"cohort.{cohort}.startup.birch" in ran.err and "another name" in ran.err
    assert operator_env.in_force() == book


def test_a_startup_returns_with_its_project_and_a_confirmation(operator_env: OperatorEnv) -> None:
    """The same project under the same name needs --confirm, and then has its past again."""
    operator_env.write(PROGRAM[:BIRCH])
    assert operator_env.run("apply", "--confirm", "trial").code == 0
    operator_env.write(PROGRAM)
    refused = operator_env.run("apply")
    assert refused.code == 1 and "cohort.spring.startup.birch" in refused.err
    assert "returns to its earlier credits" in operator_env.run("plan").out
    assert operator_env.run("apply", "--confirm", "trial").code == 0
