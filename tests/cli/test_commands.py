"""The commands against a simulated region over HTTP: from an empty folder to a checked book."""

from __future__ import annotations

import json
import socket
import tomllib
from pathlib import Path
from typing import Any

import pytest
import requests

from quotas.book import Book
from scheduler.clock import SystemClock
from scheduler.clouds.scaleway import ScalewayCloud
from scheduler.cycle import Cycle
from scheduler.timing import Timing
from simulator.process import Running

from .command import MAIN, cohortd, environment, run_in_process
from .operator_env import H100, PROGRAM, PROJECTS, ZONE, OperatorEnv

OTHER_KEY = "5ec2e75e-c2e7-4ec2-8ec2-e75ec2e75ec2"
TIMEOUT_S = 30


def settings(region: Running, **changes: str) -> dict[str, str]:
    """The environment of an operator of this region."""
    ours = {
        "SCW_API_URL": region.url,
        "SCW_ACCESS_KEY": region.access_key,
        "SCW_SECRET_KEY": region.secret_key,
        "SCW_DEFAULT_ORGANIZATION_ID": region.organization_id,
    }
    return environment(**{**ours, **changes})


def start_server(region: Running) -> str:
    """The id of a GPU server that the first project has just powered on."""
    project = region.projects[0]
    url = f"{region.url}/instance/v1/zones/{ZONE}/servers"
    with requests.Session() as session:
        session.headers["X-Auth-Token"] = project.secret_key
        body = {"name": "trainer", "project": project.id, "commercial_type": H100}
        made = session.post(url, json=body, timeout=TIMEOUT_S)
        assert made.status_code == 201, made.text
        server_id = str(made.json()["server"]["id"])
        action = f"{url}/{server_id}/action"
        assert session.post(action, json={"action": "poweron"}, timeout=TIMEOUT_S).ok
    return server_id


def run_cycle(region: Running, state: Path) -> None:
    """Run one cycle, as `cohortd run` does."""
    cloud = ScalewayCloud.connect(
        access_key=region.access_key,
        secret_key=region.secret_key,
        organization_id=region.organization_id,
        api_url=region.url,
    )
    book = Book.open_existing(state)
    cycle = Cycle(
        cloud=cloud,
        book=book,
        clock=SystemClock(),
        holder="tests",
        timing=Timing(),
        publish=lambda view: None,
    )
    assert cycle.run().outcome == "done"
    book.close()


def limited(text: str, name: str) -> str:
    """The program file with a limit of no GPU for one of its startups."""
    head, table, rest = text.partition(f".startup.{name}]\n")
    assert table
    return f"{head}{table}limit = {{ h100 = 0 }}\n{rest}"


def test_from_an_empty_folder_to_a_checked_book(region: Running, tmp_path: Path) -> None:
    """init, check, plan, apply, status, explain and verify work one after the other."""
    operator_env, env = OperatorEnv(tmp_path), settings(region)
    server_id = start_server(region)
    made = cohortd("init", "--program", operator_env.file, env=env)
    assert made.code == 0, made.err
    first = operator_env.file.read_text()
    assert f"# trainer ({H100}, " in first and tomllib.loads(first)["program"]["mode"] == "shadow"
    name = region.projects[0].name
    operator_env.write(limited(first, name))

    checked = operator_env.run("check", "--json", env=env)
    assert checked.code == 0, checked.out
    assert {"disk", "program", "key", "projects", f"clock {ZONE}"} <= {
        each["name"] for each in checked.json if each["ok"]
    }
    assert not any(each["ok"] is False for each in checked.json)
    planned = operator_env.run("plan", "--json").json
    assert {change["path"] for change in planned} >= {"program.mode", "pool.h100.gpus"}
    applied = operator_env.run("apply", "--json").json
    assert applied["version"] == 1 and applied["changes"] == planned
    assert operator_env.run("plan", "--json").json == []

    run_cycle(region, operator_env.state)
    status = operator_env.run("status", "--json").json
    startup = next(each for each in status["startups"] if each["name"] == name)
    assert [server["id"] for server in startup["servers"]] == [server_id]
    assert startup["gpus"] == 1 and startup["burn_per_hour"] == "2.8665"
    assert {zone["outcome"] for zone in status["zones"]} == {"complete"}
    for subject in (name, server_id):
        explained = operator_env.run("explain", subject, "--json").json["decisions"]
        assert explained[0]["server_id"] == server_id and explained[0]["reason"]
        assert explained[0]["inputs"] and explained[0]["mode"] == "shadow"
    one = operator_env.run("explain", explained[0]["id"]).out
    assert one.startswith(f"{explained[0]['id']}: ") and "because" in one
    verified = operator_env.run("verify", "--json")
    assert verified.code == 0 and verified.json["transfers"] == len(region.projects)
    assert set(verified.json["chain_heads"]) == {"first"}


def test_init_overwrites_nothing(region: Running, tmp_path: Path) -> None:
    """An existing file does not change, and the message says how to name another."""
    file = tmp_path / "mine.toml"
    file.write_text("# precious\n")
    ran = run_in_process("init", "--program", file, env=settings(region))
    assert ran.code == 2 and f"{file} is there already: name another" in ran.sentence
    assert file.read_text() == "# precious\n"


def test_a_wrong_key_fails_check_and_is_never_shown(region: Running, tmp_path: Path) -> None:
    """check names the key and a fix, exits 1, and prints no secret on either stream."""
    operator_env = OperatorEnv(tmp_path)
    operator_env.write(PROGRAM)
    env = settings(region, SCW_SECRET_KEY=OTHER_KEY)
    ran = cohortd(
        "check", "--state", operator_env.state, "--program", operator_env.file, "--json", env=env
    )
    assert ran.code == 1 and ran.err == ""
    (wrong,) = [each for each in ran.json if not each["ok"]]
    assert wrong["name"] == "key" and "401" in wrong["detail"] and wrong["fix"]
    shown = operator_env.run("check", env=env)
    assert shown.code == 1 and "NO  key: " in shown.out and "     fix: " in shown.out
    assert OTHER_KEY not in ran.out + shown.out + shown.err


@pytest.mark.parametrize(
    "name", ["SCW_ACCESS_KEY", "SCW_SECRET_KEY", "SCW_DEFAULT_ORGANIZATION_ID"]
)
def test_a_missing_setting_is_named(name: str, region: Running, tmp_path: Path) -> None:
    """If a variable is missing, init exits 2 and names it, without showing the others."""
    ran = run_in_process(
        "init", "--program", tmp_path / "p.toml", env=settings(region, **{name: ""})
    )
    assert ran.code == 2 and ran.err.startswith(f"cohortd: {name} is ")
    assert ran.err.count("\n") == 1 and region.secret_key not in ran.err
    assert not (tmp_path / "p.toml").exists()


def test_an_api_that_cannot_be_reached_is_exit_3(region: Running, tmp_path: Path) -> None:
    """A closed port and a bad setting have different exit codes, and nothing is written."""
    with socket.socket() as unheard:  # bound, but not listening: a connection is refused
        unheard.bind(("127.0.0.1", 0))
        env = settings(region, SCW_API_URL=f"http://127.0.0.1:{unheard.getsockname()[1]}")
        ran = cohortd("init", "--program", tmp_path / "p.toml", env=env)
    assert ran.code == 3 and ran.err.startswith("cohortd: ")
    assert ran.err.count("\n") == 1 and "Traceback" not in ran.err
    assert not (tmp_path / "p.toml").exists()


def test_a_url_that_is_none_is_named_as_a_setting(region: Running, tmp_path: Path) -> None:
    """A setting that the SDK cannot use is refused first: exit 2, and no key on the stream."""
    env = settings(region, SCW_API_URL="nonsense")
    ran = run_in_process("init", "--program", tmp_path / "p.toml", env=env)
    assert ran.code == 2 and ran.err.startswith("cohortd: the Scaleway connection (SCW_*): ")
    assert "URL" in ran.err and region.secret_key not in ran.err


def test_a_folder_that_cannot_be_written_is_named(
    region: Running, operator_env: OperatorEnv
) -> None:
    """A --state that is a file and a missing folder of --program each exit 2 with a sentence."""
    missing = operator_env.folder / "none" / "p.toml"
    made = run_in_process("init", "--program", missing, env=settings(region))
    assert made.code == 2 and f"--program {missing}: No such file or directory" in made.sentence
    for command in ("check", "apply"):
        ran = run_in_process(
            command,
            "--state",
            operator_env.file,
            "--program",
            operator_env.file,
            env=settings(region),
        )
        assert ran.code == 2 and f"--state {operator_env.file}: File exists" in ran.sentence
        assert "Traceback" not in ran.err


def test_a_port_that_is_taken_is_named(region: Running, tmp_path: Path) -> None:
    """If run cannot listen, it exits 2 before it reads any zone."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        state = tmp_path / "state"
        ran = cohortd("run", "--state", state, "--listen", listen, env=settings(region))
    assert ran.code == 2 and f"--listen {listen}: Address already in use" in ran.sentence
    assert "Traceback" not in ran.err and "daemon.started" not in ran.err


def test_apply_without_a_program_file_is_bad_usage(tmp_path: Path) -> None:
    """A missing program file is named, and no book is created."""
    operator_env = OperatorEnv(tmp_path)
    ran = operator_env.run("apply")
    assert ran.code == 2 and str(operator_env.file) in ran.sentence
    assert not operator_env.state.exists()


@pytest.mark.parametrize("command", ["status", "verify", "explain acme"])
def test_reading_a_book_that_is_not_there_makes_none(command: str, tmp_path: Path) -> None:
    """Without a book the command exits 2, and names the folder and the command that makes one."""
    ran = run_in_process(*command.split(), "--state", tmp_path / "none")
    assert ran.code == 2 and f"--state {tmp_path / 'none'}: no book there" in ran.err
    assert not (tmp_path / "none").exists()


def test_a_flavor_that_nobody_sells_fails_check(region: Running, tmp_path: Path) -> None:
    """check names a flavor that Scaleway's catalogue does not list."""
    operator_env = OperatorEnv(tmp_path)
    text = PROGRAM.replace(H100, "H200-1-140G")
    for made_up, project in zip(PROJECTS[:2], region.projects, strict=False):
        text = text.replace(made_up, project.id)
    operator_env.write(text)
    ran = operator_env.run("check", "--json", env=settings(region))
    (wrong,) = [each for each in ran.json if not each["ok"]]
    assert ran.code == 1 and wrong["name"] == "prices of pool h100"
    assert wrong["detail"] == f"H200-1-140G@{ZONE} is not sold"


def test_explain_knows_nothing_of_a_stranger(operator_env: OperatorEnv) -> None:
    """A subject without a decision gets exit 1 and a sentence, not an empty answer."""
    ran = operator_env.run("explain", "nobody")
    assert ran.code == 1 and ran.out == ""
    assert ran.err == "cohortd: nothing was decided about 'nobody' yet\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["verfy"], "No such command 'verfy'. Did you mean 'verify'?"),
        (["run", "--cycle", "0s"], "--cycle 0s is out of range; give 1s to 30s"),
        (["run", "--cycle", "1m"], "--cycle 1m is out of range; give 1s to 30s, because"),
        (["run", "--cycle", "soon"], "--cycle 'soon' is not a duration"),
        (["run", "--listen", "nonsense"], "--listen is 'nonsense': write host:port such as"),
        (["explain", "acme", "--limit", "0"], "'--limit': Input should be greater than or equal"),
        (["status", "--jsn"], "No such option: --jsn"),
        (["explain", "--jsn"], "No such option: --jsn"),
        (["explain"], "Missing argument 'subject'"),
        (["grant", "acme", "5"], "Missing option '--id'"),
    ],
)
def test_bad_usage_is_exit_2_and_says_what_would_do(
    arguments: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong command, option or value is named; nothing is started or written."""
    monkeypatch.chdir(tmp_path)
    ran = run_in_process(*arguments)
    assert ran.code == 2 and sentence in ran.sentence and ran.out == ""
    assert not list(tmp_path.iterdir())


def test_no_command_shows_the_help() -> None:
    """Without a command every command is listed, with the exit code of bad usage."""
    ran = run_in_process()
    assert (ran.code, ran.err) == (2, "") and "verify" in ran.out


def test_listings_are_one_json_value_each(operator_env: OperatorEnv) -> None:
    """With --json standard output is one value and nothing else, keys sorted."""
    for command in ("plan", "apply", "status", "verify"):
        ran = operator_env.run(command, "--json")
        assert ran.code == 0, ran.err
        again: Any = json.dumps(ran.json, indent=2, sort_keys=True, ensure_ascii=False)
        assert ran.out == again + "\n"


def test_the_command_line_of_these_tests_is_the_installed_one() -> None:
    """The package's entry point `cohortd` calls the function that these tests call."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    module, _, function = project["project"]["scripts"]["cohortd"].partition(":")
    assert f"from {module} import {function}; {function}()" == MAIN
