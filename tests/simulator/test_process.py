"""The region as a process: its announcement, its controls and its end."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import uuid
from datetime import datetime
from pathlib import Path

import pytest
import requests

from simulator.clock import Clock, real_now_s
from simulator.process import running
from simulator.world.offers.catalogue import ZONES

from .client import H100, ZONE, Client

COMMAND = [sys.executable, "-m", "simulator", "--listen", "127.0.0.1:0"]


def test_it_says_who_it_is_and_ends_on_sigterm() -> None:
    """It prints one line of JSON with every field, and SIGTERM ends it with 0."""
    with subprocess.Popen([*COMMAND, "--seed", "4"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        answer = requests.get(said["url"] + "/_control/clock", timeout=10)
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=30)
    assert (process.returncode, rest, answer.status_code) == (0, "", 200)
    assert set(said) == {
        "url", "organization_id", "access_key", "secret_key", "start", "ends", "projects", "zones"
    }  # fmt: skip
    assert said["zones"] == list(ZONES)
    for owner in (said, *said["projects"]):
        assert re.fullmatch(r"SCW[A-Z0-9]{17}", owner["access_key"])
        assert str(uuid.UUID(owner["secret_key"])) == owner["secret_key"]
    assert [project["name"] for project in said["projects"]] == [
        "acme-speech", "borealis-vision", "cumulus-bio", "delta-robotics", "echo-agents"
    ]  # fmt: skip


def test_the_same_seed_has_the_same_keys() -> None:
    """A region that is started again is the same region at another port."""
    with running("--seed", "9", "--clock", "controller") as one:
        first = (one.secret_key, one.projects)
    with running("--seed", "9", "--clock", "controller") as other:
        assert (other.secret_key, other.projects) == first
        assert other.secret_key not in repr(other)


def test_start_and_days_are_as_asked() -> None:
    """The world begins at --start and ends after --days."""
    with running("--start", "2026-12-01T00:00:00Z", "--days", "2", "--clock", "controller") as one:
        assert (one.start, one.ends) == ("2026-12-01T00:00:00Z", "2026-12-03T00:00:00Z")
        began = datetime.fromisoformat(one.start).timestamp()
        assert Client(one).now_s() == began


def test_a_clock_with_a_speed_takes_no_orders() -> None:
    """Only a controller's clock can be moved; any other clock answers 409 and moves by itself."""
    with running("--speed", "100000") as one:
        url = f"{one.control_url}/clock"
        refused = requests.post(url, json={"now_s": 2**33}, timeout=10)
        assert refused.status_code == 409
        first = Client(one).now_s()
        assert Client(one).now_s() >= first > datetime.fromisoformat(one.start).timestamp()


def test_real_time_is_real() -> None:
    """With --clock real the world begins now."""
    before_s = real_now_s()
    with running("--clock", "real") as one:
        assert before_s <= Client(one).now_s() <= real_now_s() + 1


def test_the_clock_only_goes_forward(client: Client) -> None:
    """A move to an earlier instant, or without one, is a 400."""
    url = f"{client.region.control_url}/clock"
    for body in ({"now_s": client.now_s() - 1}, {}, {"now_s": "soon"}):
        assert requests.post(url, json=body, timeout=10).status_code == 400
    assert requests.post(url, data="{", timeout=10).status_code == 400


def test_the_date_is_the_worlds(client: Client) -> None:
    """The Date header shows the world's time, and not the machine's."""
    client.pass_time(3600)
    shown = datetime.strptime(client.servers().headers["Date"], "%a, %d %b %Y %H:%M:%S GMT")
    assert int((shown - datetime(1970, 1, 1)).total_seconds()) == client.now_s()


def test_the_truth_is_told(client: Client) -> None:
    """The controls show runs, prices and lost scratch disks, and can shut a guest down."""
    server_id = client.created()
    client.act(server_id, "poweron")
    began_s = client.now_s()
    client.pass_time(600)
    client.control("POST", "guest-shutdown", zone=ZONE, server_id=server_id)
    client.pass_time(600)
    client.act(server_id, "poweroff")
    client.pass_time(600)
    truth = client.control("GET", "truth")
    (run,) = (run for run in truth["runs"] if run["server_id"] == server_id)
    assert (run["start_s"], run["end_s"]) == (began_s, began_s + 1200)
    assert server_id in {loss["server_id"] for loss in truth["scratch_lost"]}
    assert truth["prices"][f"{H100}@{ZONE}"] == [[0, 2_730_000], [1_782_172_800, 2_866_500]]


def test_prices_and_stock_can_be_set() -> None:
    """A new price is listed from its instant on, and a zone can run out of a family."""
    with running("--clock", "controller", "--no-workload") as one:
        client = Client(one)
        at_s = client.now_s() + 3600
        client.control("POST", "prices", commercial_type=H100, at_s=at_s, rate_ucr_per_h=5_000_000)
        client.control("POST", "stock", zone=ZONE, family="H100-PCIe", gpus=0)
        path = f"/instance/v1/zones/{ZONE}/products/servers"
        before = client.ask("GET", path).json()["servers"][H100]["hourly_price"]
        client.pass_time(3600)
        after = client.ask("GET", path).json()["servers"][H100]
        assert (before, after["hourly_price"], after["monthly_price"]) == (2.8665, 5.0, 3650.0)
        assert client.act(client.created(), "poweron").status_code == 503


def test_a_trace_and_a_fault_plan_can_be_played(tmp_path: Path) -> None:
    """--trace takes the startups from a file, and --faults puts a plan in force."""
    file = tmp_path / "demand.csv"
    file.write_text("one,0,8\ntwo,0,1\n")
    with running("--trace", str(file), "--faults", "--clock", "controller") as region:
        assert [project.name for project in region.projects] == ["one", "two"]
        client = Client(region)
        assert client.control("GET", "faults")["faults"]
        client.control("DELETE", "faults")
        client.pass_time(3600)
        assert len(client.servers().json()["servers"]) == 2


def test_a_region_that_cannot_start_is_an_error() -> None:
    """A bad command line raises RuntimeError instead of waiting for ever."""
    with pytest.raises(RuntimeError, match="did not start"), running("--nonsense"):
        pass


@pytest.mark.parametrize("text", [None, "a,b"], ids=["the file is missing", "the file is no trace"])
def test_a_bad_trace_is_one_sentence(tmp_path: Path, text: str | None) -> None:
    """A missing or invalid trace exits 2 with a line that names it."""
    file = tmp_path / "demand.csv"
    if text is not None:
        file.write_text(text)
    done = subprocess.run([*COMMAND, "--trace", str(file)], capture_output=True, text=True)
    assert done.returncode == 2
    assert str(file) in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_clock_never_runs_back() -> None:
    """A world that is ahead of real time stays where it is."""
    clock = Clock.starting(1000, 1.0)
    assert clock.now_s(5000) == 5000
    assert 1000 <= clock.now_s(0) < 1100
    assert Clock.starting(1000, None).now_s(5000) == 5000
