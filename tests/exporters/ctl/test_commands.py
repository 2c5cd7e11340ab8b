"""cohortctl over a socket to a real `cohortd serve`: what it prints, and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from exporters.ctl.cli import main
from exporters.ctl.formatting import credits_text
from quotas.book import Address, Book
from quotas.book.cycle.commit import apply_program
from quotas.book.view_file import publish
from scheduler.clock import SystemClock
from tests.cli.command import CommandResult, environment, run_in_process
from tests.exporters.api.api_fixture import NOW_S, drain_of, fill, mint_all, publishing
from tests.exporters.api.test_advance import tranched
from tests.exporters.api.test_serve import serving


@dataclass(frozen=True)
class Served:
    """A running API over a filled book, and the tokens for it."""

    state: Path
    book: Book
    url: str
    tokens: dict[str, str]

    def run(self, *arguments: object, who: str = "acme", url: str = "") -> CommandResult:
        """Run cohortctl with a token."""
        own = {"COHORTCTL_URL": url or self.url, "COHORTCTL_TOKEN": self.tokens[who]}
        return run_in_process(*arguments, env=environment(**own), entry=main)

    def decide(self) -> int:
        """What a cycle does with the inbox, and the publishing after it."""
        answered = drain_of(self.book, self.state)(NOW_S)
        publish(self.book, Address(self.state).view, SystemClock().now_s())
        return answered


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One API for the module."""
    state = tmp_path_factory.mktemp("ctl")
    book = Book.open(state)
    fill(book)
    tokens = mint_all(book)
    with publishing(book, state, SystemClock()), serving(state) as (_, url):
        yield Served(state, book, url, tokens)
    book.close()


QUERIES = {
    "credits": "available",
    "usage": "1 GPUs",
    "servers": "train-acme",
    "quota": "headroom",
    "explain 1": "because acme uses 16 GPUs in h100",
    "statement": "1970-01",
    "statement 1970-01": "closing",
    "notices": "powered off at",
    "notices --all": "powered off at",
    "events": "acme uses 16 GPUs in h100",
    "request list": "",
}


@pytest.mark.parametrize(("line", "says"), QUERIES.items(), ids=list(QUERIES))
def test_every_look_reads_well_and_as_json(served: Served, line: str, says: str) -> None:
    """A text for people, one JSON object for programs, and nothing of another startup."""
    text, as_json = served.run(*line.split()), served.run(*line.split(), "--json")
    assert (text.code, as_json.code) == (0, 0), text.err + as_json.err
    assert says in text.out and as_json.json
    assert "birch" not in text.out + as_json.out


def test_a_level_reads_as_words(served: Served) -> None:
    """People read the name of a level, programs its code."""
    answer = {**served.run("credits", "--json").json, "level": "paced"}
    assert " credits available, at limit: " in credits_text(answer)


def test_need_is_an_exit_code_for_pipelines(served: Served) -> None:
    """0 where so much is available, 1 with how much is lacking; 2 for what is no amount."""
    available = served.run("credits", "--json").json["available"]
    assert served.run("credits", "--need", available).code == 0
    short = served.run("credits", "--need", "200")
    assert short.code == 1
    assert f"{available} credits are available, " in short.err
    assert "less than the 200 needed" in short.err
    assert served.run("credits", "--need", "many").code == 2


def test_a_month_comes_as_csv(served: Served) -> None:
    """Between opening and closing, as the API writes it."""
    rows = served.run("statement", "1970-01", "--csv").out.splitlines()
    assert rows[0].startswith("startup,month,kind") and rows[-1].startswith("acme,1970-01,closing")


def test_a_request_is_kept_decided_and_taken_back(served: Served) -> None:
    """The same key is one request; --wait tells what was decided, and exits with it."""
    ask = ["request", "h100", 1, "--for", "2h", "--key", "run-4"]
    assert served.run(*ask).out == "the request is kept; the next cycle decides\n"
    assert served.decide() == 1
    done = served.run(*ask, "--wait")
    assert done.code == 0 and done.out.startswith("done: request 1 for 1 GPUs of h100 is open")
    assert served.decide() == 0
    assert "h100" in served.run("request", "list").out
    assert served.run("request", "withdraw", 9, "--key", "w").code == 0
    served.decide()
    refused = served.run("request", "withdraw", 9, "--key", "w", "--wait")
    assert refused.code == 1 and refused.out.startswith("refused: ")


def test_a_notice_is_answered(served: Served) -> None:
    """Snoozed and acknowledged from a terminal; --wait tells the new deadline."""
    asks = (["notices", "snooze", 1, "--for", "30m", "--key", "s"], ["notices", "ack", 1])
    for ask in (asks[0], [*asks[1], "--key", "a"]):
        assert "is kept" in served.run(*ask).out
        served.decide()
    done = served.run(*asks[0], "--wait")
    assert (done.code, done.out) == (0, "done: notice 1 is due 1970-01-01T03:00:00Z\n")
    assert served.run("notices", "--json").json["items"][0]["acknowledged"]


@pytest.mark.parametrize(
    ("line", "who", "code", "says"),
    [
        ("credits", "expired", 1, "is expired: ask the operator"),
        ("request h100 1 --for 2h", "acme-read", 1, "--scope request"),
        ("request h100 1 --for soon", "acme", 2, "body.duration"),
        ("request h100 0 --for 1h", "acme", 2, "gpus"),
        ("explain 2", "acme", 1, "no such decision"),
        ("explain x", "acme", 2, "valid integer"),
        ("statement 2999-01", "acme", 1, "none for 2999-01"),
        ("statement ../me", "acme", 2, "write it as 2027-01"),
        ("statement --csv", "acme", 2, "of one month"),
        ("events --since x", "acme", 2, "cursor"),
        ("on-notice --before soon -- true", "acme", 2, "--before"),
    ],
)
def test_a_refusal_is_one_sentence(
    served: Served, line: str, who: str, code: int, says: str
) -> None:
    """The API's own sentence, or ours; 1 where it says no, 2 where the command is wrong."""
    ran = served.run(*line.split(), who=who)
    assert (ran.code, ran.out) == (code, "")
    assert says in ran.err and ran.err.count("\n") == 1


def test_an_api_that_is_not_there_is_three(served: Served) -> None:
    """Exit 3; of a write the sentence gives the key with which to repeat it."""
    nowhere = "http://127.0.0.1:9"
    ran = served.run("credits", url=nowhere)
    assert ran.code == 3 and f"{nowhere} cannot be reached" in ran.err
    ran = served.run("request", "h100", 1, "--for", "1h", "--key", "k5", url=nowhere)
    assert ran.code == 3 and "repeat it with --key k5" in ran.err


def test_watching_events_goes_on_from_where_it_was(served: Served) -> None:
    """--watch --json prints an event a line and stays; a reader gets them as they come."""
    own = {"COHORTCTL_URL": served.url, "COHORTCTL_TOKEN": served.tokens["acme"]}
    code = "from exporters.ctl.cli import main; main()"
    command = [sys.executable, "-u", "-c", code, "events", "--watch", "--json"]
    child = subprocess.Popen(command, env=environment(**own), stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    try:
        kinds = [json.loads(child.stdout.readline())["kind"] for _ in range(2)]
    finally:
        child.kill()
        child.communicate()
    assert sorted(kinds) == ["decision", "notice"]


def test_it_starts_without_what_the_daemon_needs() -> None:
    """No SDK, database, server or validation library is loaded; for --help no HTTP either."""
    heavy = "{'sqlalchemy', 'scaleway', 'fastapi', 'pydantic', 'numpy', 'structlog', 'scheduler'}"
    for module, more in (("cli", "{'requests', 'urllib3'}"), ("client", "set()")):
        look = f"import sys, exporters.ctl.{module}; print(({heavy} | {more}) & set(sys.modules))"
        ran = subprocess.run(
            [sys.executable, "-c", look], env=environment(), capture_output=True, text=True
        )
        assert ran.stdout.strip() == "set()", ran.stdout + ran.stderr


def test_credits_are_taken_ahead(served: Served) -> None:
    """All that is allowed, or a part of it; --wait tells how much, of which tranche, what remains.

    As every write it needs the scope request, and a refusal exits with 1.
    """
    apply_program(served.book, tranched(), NOW_S, "tests")
    kept = served.run("advance", "acme-t", "--amount", "2.5", "--key", "ahead")
    assert kept.out == "the advance is kept; the next cycle decides\n"
    assert served.decide() == 1
    done = served.run("advance", "acme-t", "--amount", "2.5", "--key", "ahead", "--wait")
    assert done.code == 0
    assert done.out.startswith("done: 2.50 credits of tranche acme-t/2 can be spent now, until ")
    assert "; 17.50 remain in the tranche, which begins at " in done.out
    assert served.run("advance", "--key", "more", "--json").json["kind"] == "credits.advance"
    served.decide()
    again = served.run("advance", "--key", "more", "--wait", "--json")
    assert (again.code, again.json["state"]) == (1, "refused")
    assert "taken ahead before" in again.json["text"]


@pytest.mark.parametrize(
    ("line", "who", "code", "says"),
    [
        ("advance --amount many", "acme", 2, "body.amount"),
        ("advance --amount=-5", "acme", 2, "above zero"),
        ("advance --amount 0", "acme", 2, "above zero"),
        ("advance", "acme-read", 1, "--scope request"),
        ("advance acme-t 5", "acme", 2, "unexpected extra argument"),
    ],
)
def test_what_cannot_be_taken_ahead_is_refused_at_once(
    served: Served, line: str, who: str, code: int, says: str
) -> None:
    """One sentence and nothing kept, as for every command."""
    ran = served.run(*line.split(), who=who)
    assert (ran.code, ran.out) == (code, "")
    assert says in ran.err and ran.err.count("\n") == 1
