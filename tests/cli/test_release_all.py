"""release-all gives every rule back, with the daemon dead and the program file gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from quotas.book import Book
from simulator.process import Running, running
from tests.scheduler.harness import Harness
from tests.scheduler.iam_harness import FULL, GRANULAR, IamEnv, intents
from tests.simulator.client import Client

from .command import CommandResult, environment, run_in_process

REASON = ("--reason", "the sponsor asked")


@pytest.fixture(scope="module")
def region() -> Iterator[Running]:
    """A region at this machine's time, and its environment for a command."""
    with running("--clock", "real", "--seed", "13", "--no-workload") as region:
        yield region


@pytest.fixture
def iam_env(region: Running) -> IamEnv:
    """An organization with a key that may close."""
    return IamEnv(region)


def settings(iam_env: IamEnv, **changes: str) -> dict[str, str]:
    """The environment of a command: the organization, and only the key for IAM."""
    ours = {
        "SCW_API_URL": iam_env.region.url,
        "SCW_DEFAULT_ORGANIZATION_ID": iam_env.region.organization_id,
        "SCW_IAM_ACCESS_KEY": iam_env.key["access_key"],
        "SCW_IAM_SECRET_KEY": iam_env.key["secret_key"],
    }
    return environment(**{**ours, **changes})


def closed(iam_env: IamEnv, state: Path) -> Harness:
    """The book of a daemon that closed acme and died, leaving its lease behind."""
    iam_env.startup(*GRANULAR)
    harness = iam_env.harness(Book.open(state))
    iam_env.closed(harness)
    assert intents(harness)[-1] == ("close", "confirmed")
    return harness


def release(iam_env: IamEnv, state: Path, *more: str, **changes: str) -> CommandResult:
    """`cohortd release-all` on this book."""
    env = settings(iam_env, **changes)
    return run_in_process("release-all", "--state", state, *REASON, *more, env=env)


def test_everything_comes_back_with_the_daemon_dead(iam_env: IamEnv, tmp_path: Path) -> None:
    """Each rule is reported, the book has actor and reason, and a second run finds nothing."""
    made = iam_env.startup(*GRANULAR)
    iam_env.edit(made["policy_id"], iam_env.rule(*GRANULAR), iam_env.rule(*FULL))
    harness = closed(iam_env, tmp_path)
    dry = release(iam_env, tmp_path, "--dry-run")
    assert dry.code == 0 and "would get back: InstancesFullAccess" in dry.out
    assert (
        len(iam_env.rules(made["policy_id"])) == 2
        and harness.all("revoked_rules")[0]["ended_s"] is None
    )
    ran = release(iam_env, tmp_path, "--json")
    assert ran.code == 0, ran.err
    assert iam_env.rules(made["policy_id"]) == [sorted(GRANULAR), list(FULL)]
    (startup,) = ran.json["startups"]
    own = next(p for p in startup["policies"] if p["policy_id"] == made["policy_id"])
    assert [rule["sets"] for rule in own["rules"]] == [sorted(GRANULAR), list(FULL)]
    assert startup["startup"] == "acme" and not startup["error"]
    assert intents(harness)[-1] == ("reopen", "confirmed")
    assert "the sponsor asked" in harness.all("intent")[-1]["result"].reason
    assert [row["verb"] for row in harness.all("decision")][-1] == "release"
    again = release(iam_env, tmp_path)
    assert again.code == 0 and "no rule of any startup is revoked" in again.out
    assert iam_env.rules(made["policy_id"]) == [sorted(GRANULAR), list(FULL)]
    harness.book.close()


def test_a_project_that_passed_on_is_given_back_too(iam_env: IamEnv, tmp_path: Path) -> None:
    """release-all gives rules back whatever the level of the current owner."""
    made = iam_env.startup(*GRANULAR)
    harness = iam_env.harness(Book.open(tmp_path))
    iam_env.closed(harness)
    iam_env.pass_on(harness)
    assert release(iam_env, tmp_path).code == 0
    assert iam_env.rules(made["policy_id"]) == [sorted(GRANULAR)]
    assert {row["state"] for row in harness.all("revoked_rules")} == {"ended"}
    harness.book.close()


def test_a_living_daemon_writes_nothing_under_its_old_lease(
    iam_env: IamEnv, tmp_path: Path
) -> None:
    """After release-all took the lease, the daemon's next cycle leads under a new epoch."""
    harness = closed(iam_env, tmp_path)
    before = harness.cycle.lease
    assert release(iam_env, tmp_path).code == 0
    harness.run(30)
    after = harness.cycle.lease
    assert before is not None and after is not None and after.epoch > before.epoch
    assert intents(harness)[-1] == ("close", "confirmed"), "it is in enforce mode, and says so"
    harness.book.close()


def test_a_refusal_of_one_does_not_stop_the_others(iam_env: IamEnv, tmp_path: Path) -> None:
    """With a key that may not write it exits 1 with Scaleway's text, and the record stays."""
    harness = closed(iam_env, tmp_path)
    weak = IamEnv(iam_env.region, "IAMPolicyReadOnly").key
    keys = {"SCW_IAM_ACCESS_KEY": weak["access_key"], "SCW_IAM_SECRET_KEY": weak["secret_key"]}
    ran = release(iam_env, tmp_path, **keys)
    assert ran.code == 1 and "NO acme" in ran.out and "403" in ran.out
    assert {row["state"] for row in harness.all("revoked_rules")} == {"revoked"}
    assert release(iam_env, tmp_path).code == 0
    assert {row["state"] for row in harness.all("revoked_rules")} == {"ended"}
    harness.book.close()


def test_a_policy_that_is_gone_is_reported(iam_env: IamEnv, tmp_path: Path) -> None:
    """A policy that is gone is reported once, and not tried for ever."""
    harness = closed(iam_env, tmp_path)
    gone = "11111111-1111-4111-8111-111111111111"
    with harness.book.writing() as connection:
        connection.exec_driver_sql(f"UPDATE revoked_rules SET policy_id = '{gone}'")
    ran = release(iam_env, tmp_path)
    assert ran.code == 0 and "is gone" in ran.out
    assert "no rule of any startup is revoked" in release(iam_env, tmp_path).out
    harness.book.close()


def test_what_cannot_be_done_is_one_sentence(iam_env: IamEnv, tmp_path: Path) -> None:
    """Exit 2 for no key, half a key, no book or an empty reason; exit 3 if nobody listens."""
    harness = closed(iam_env, tmp_path)
    none = release(iam_env, tmp_path, SCW_IAM_ACCESS_KEY="", SCW_IAM_SECRET_KEY="")
    assert none.code == 2 and "SCW_IAM_ACCESS_KEY" in none.err
    half = release(iam_env, tmp_path, SCW_IAM_SECRET_KEY="")
    assert half.code == 2 and "iam-secret-key" in half.err
    assert release(iam_env, tmp_path / "nowhere").code == 2
    away = release(iam_env, tmp_path, SCW_API_URL="http://127.0.0.1:9")
    assert away.code == 3 and "NO acme" in away.out
    blank = run_in_process(
        "release-all", "--state", tmp_path, "--reason", " ", env=settings(iam_env)
    )
    assert blank.code == 2
    assert iam_env.key["secret_key"] not in none.err + half.err + away.out + away.err
    harness.book.close()


def checked(iam_env: IamEnv, folder: Path, **changes: str) -> dict[str, list[tuple[bool, str]]]:
    """The results of `cohortd check`, by the name of each check."""
    project = iam_env.project
    (folder / "program.toml").write_text(
        f"""
[program]
name = "trial"
budget = "5000"

[pool.h100]
gpus = 8
flavors = ["H100-1-80G@fr-par-2"]

[cohort.spring]
starts = 2026-01-05
ends = 2199-07-05

[cohort.spring.startup.acme]
project_id = "{project}"
grants = [ {{ id = "acme-1", credits = "1000" }} ]
"""
    )
    first = {
        "SCW_ACCESS_KEY": iam_env.region.access_key,
        "SCW_SECRET_KEY": iam_env.region.secret_key,
    }
    env = settings(iam_env, **first, **changes)
    files = ("--state", folder, "--program", folder / "program.toml")
    ran = run_in_process("check", *files, "--json", env=env)
    said: dict[str, list[tuple[bool, str]]] = {}
    for each in ran.json:
        said.setdefault(each["name"], []).append((each["ok"], each["detail"]))
    return said


def test_check_names_who_could_get_round_a_closing(iam_env: IamEnv, tmp_path: Path) -> None:
    """check names the owner, a policy, a set that cannot be narrowed and our key, each once."""
    client = Client(iam_env.region)
    wide = {"permission_set_names": ["InstancesFullAccess"]}
    wide["organization_id"] = iam_env.region.organization_id  # type: ignore[assignment]  # JSON
    client.control("POST", "principals", kind="application", name="deployer", rules=[wide])
    iam_env.startup("AllProductsFullAccess")
    said = checked(iam_env, tmp_path)
    ways = {detail: ok for ok, detail in said["bypass"]}
    named = "\n".join(ways)
    for who in ("user owner@example.com owns", "application deployer keeps InstancesFullAccess"):
        assert who in named
    assert "application cohortd can grant itself any permission: IAMPolicyManager" in named
    own = next(each for each in ways if "AllProductsFullAccess" in each)
    assert own.startswith("application acme-ci") and not ways[own]
    assert said["IAM rules"] == [(True, "the key may set rules")]
    assert said["closing acme"][0][1].startswith("closing it narrows")


def test_check_says_what_the_key_lacks(region: Running, tmp_path: Path) -> None:
    """A sentence for each permission that is missing, and which set gives it.

    The permissions to stop and start are named, because a check cannot try them.
    """
    said = checked(IamEnv(region, "IAMPolicyReadOnly"), tmp_path)
    assert "InstancesServerStart for 'undo' and auto_resume" in said["stops and starts"][0][1]
    for kind in ("application", "group", "user"):
        assert said[f"IAM {kind}s"][0][0] is False and "403" in said[f"IAM {kind}s"][0][1]
    assert said["IAM rules"] == [(False, "no policy of the key lets it set rules")]
    blind = checked(IamEnv(region, "IAMGroupReadOnly"), tmp_path)
    assert blind["IAM policies"][0][0] is False and "IAM rules" not in blind


def test_check_without_the_second_key_says_what_closing_is_then(
    iam_env: IamEnv, tmp_path: Path
) -> None:
    """A missing key is no fault: check says what happens without it."""
    said = checked(iam_env, tmp_path, SCW_IAM_ACCESS_KEY="", SCW_IAM_SECRET_KEY="")
    ((ok, detail),) = said["IAM key"]
    assert ok and "stopped after notice" in detail and "bypass" not in said
