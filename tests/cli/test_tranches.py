"""Tranches and holds on the command line: done once, or refused in one sentence."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import pytest

from quotas.model.units import format_instant
from tests.cli.command import CommandResult, run_in_process
from tests.cli.operator_env import PROGRAM
from tests.cli.test_operator_actions import digest_of

DAY_S = 86_400
NOW_S = int(time.time()) // DAY_S * DAY_S
WHY = ("--reason", "because")
TERMS = f"""[
  {{ id = "acme-1", credits = "100", tranches = [
    {{ at = {format_instant(NOW_S - DAY_S)}, credits = "40" }},
    {{ at = {format_instant(NOW_S + 30 * DAY_S)}, credits = "60" }} ] }},
  {{ id = "acme-2", credits = "7", tranches = [
    {{ milestone = "demo-day", credits = "5" }},
    {{ milestone = "late", credits = "2", by = {format_instant(NOW_S - DAY_S // 2)} }} ] }} ]"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A book: acme has 40 credits now and 60 later, and two milestones to reach."""
    text = PROGRAM.replace('[ { id = "acme-1", credits = "1000" } ]', TERMS)
    text = text.replace("starts = 2027-01-05", f"starts = {format_instant(NOW_S - DAY_S)}")
    text = text.replace("ends = 2027-07-05", f"ends = {format_instant(NOW_S + 90 * DAY_S)}")
    (tmp_path / "program.toml").write_text(text)
    applied = run_in_process("apply", "--state", tmp_path, "--program", tmp_path / "program.toml")
    assert applied.code == 0, applied.err
    return tmp_path


def on(state: Path, *words: object) -> CommandResult:
    """A command on the book."""
    return run_in_process(*words, "--state", state)


def line(state: Path, name: str = "acme") -> dict[str, str]:
    """A startup's line of the status."""
    rows = on(state, "status", "--json").json["startups"]
    found: dict[str, str] = next(row for row in rows if row["name"] == name)
    return found


def test_a_tranche_counts_from_its_start(state: Path) -> None:
    """The first tranche is available and expires next; the second one is later."""
    own = line(state)
    assert (own["available"], own["later_tranches"]) == ("40.00", "60.00")
    assert own["next_tranche_at"] == format_instant(NOW_S + 30 * DAY_S)
    assert own["granted"] == "40.00"


def test_applying_again_posts_nothing(state: Path) -> None:
    """Each tranche is posted once; other terms for it are refused with exit 2."""
    before = digest_of(state)
    file = state / "program.toml"
    assert on(state, "apply", "--program", file).code == 0
    assert digest_of(state) == before
    file.write_text(file.read_text().replace('credits = "5"', 'credits = "6"', 1))
    file.write_text(file.read_text().replace('credits = "7"', 'credits = "8"', 1))
    ended = on(state, "apply", "--program", file)
    assert ended.code == 2 and "a posted grant does not change" in ended.sentence
    assert digest_of(state) == before


def test_a_milestone_is_credited_when_it_is_confirmed(state: Path) -> None:
    """A milestone is credited once, from now to the grant's end."""
    done = on(state, "milestone", "acme", "acme-2", "demo-day", *WHY, "--json")
    assert (done.code, done.json["grant"], done.json["granted"]) == (0, "acme-2/1", "5.00")
    assert line(state)["available"] == "45.00"
    again = on(state, "milestone", "acme", "acme-2", "demo-day", *WHY)
    assert again.code == 1 and "confirmed already" in again.sentence
    assert on(state, "verify", "--json").json["ok"]


def test_an_advance_moves_what_would_come_later(state: Path) -> None:
    """A part is spendable now, the rest stays later, and the sum does not change."""
    done = on(state, "advance", "acme", "acme-1", "--credits", "12.5", *WHY, "--json")
    assert (done.code, done.json["from_grant"], done.json["advanced"]) == (0, "acme-1/2", "12.50")
    own = line(state)
    assert (own["available"], own["later_tranches"]) == ("52.50", "47.50")
    assert on(state, "advance", "acme", "acme-1", *WHY).code == 0
    assert line(state)["available"] == "100.00"
    spent = on(state, "advance", "acme", "acme-1", *WHY)
    assert spent.code == 1 and "no tranche that begins later" in spent.sentence


def test_a_void_takes_every_unused_part(state: Path) -> None:
    """A void takes every unused part, also one that was advanced or credited by a milestone."""
    assert on(state, "advance", "acme", "acme-1", "--credits", "10", *WHY).code == 0
    done = on(state, "void", "acme", "acme-1", *WHY, "--json").json
    assert (done["granted"], done["used"], done["voided"]) == ("100.00", "0.00", "100.00")
    assert line(state)["posted"] == "0.00"
    assert on(state, "milestone", "acme", "acme-2", "demo-day", *WHY).code == 0
    assert on(state, "void", "acme", "acme-2", *WHY).code == 0
    assert on(state, "verify", "--json").json["ok"]


def test_a_hold_is_set_aside_and_settles_in_part(state: Path) -> None:
    """Held credits are not available; the unsettled rest is again; a hold ends once."""
    placed = on(state, "hold", "acme", "30", "--for", "7d", *WHY, "--json").json
    own = line(state)
    assert (own["held"], own["available"], own["posted"]) == ("30.00", "10.00", "40.00")
    done = on(state, "hold", "settle", placed["hold"], "--credits", "4.5", *WHY, "--json").json
    assert (done["settled"], done["returned"], done["expired"]) == ("4.50", "25.50", "0.00")
    assert done["to"] == {"grant:acme:acme-1/1": "25.50"}
    assert line(state)["available"] == "35.50"
    for again in (("settle", placed["hold"]), ("void", placed["hold"])):
        ended = on(state, "hold", *again, *WHY)
        assert ended.code == 1 and "a hold ends once" in ended.sentence
    (row,) = on(state, "hold", "list", "--json").json["holds"]
    assert (row["state"], row["held"], row["settled"]) == ("settled", "30.00", "4.50")
    assert on(state, "verify", "--json").json["ok"]


def test_a_void_of_a_hold_returns_all_of_it(state: Path) -> None:
    """After a void the grants are as before; the listing names it, for its startup only."""
    placed = on(state, "hold", "place", "acme", "40", "--for", "1h", *WHY, "--json").json
    assert line(state)["available"] == "0.00"
    assert on(state, "hold", "void", placed["hold"], *WHY).code == 0
    assert line(state)["available"] == "40.00"
    assert placed["hold"] in on(state, "hold", "list", "--startup", "acme").out
    assert on(state, "hold", "list", "--startup", "birch", "--json").json == {"holds": []}


COMMANDS: list[tuple[str, ...]] = [
    ("milestone", "acme", "acme-2", "demo-day"),
    ("advance", "acme", "acme-1", "--credits", "5"),
    ("hold", "place", "acme", "5", "--for", "1d"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_dry_run_and_key(state: Path, command: tuple[str, ...]) -> None:
    """A dry run prints the same and writes nothing; a key repeats its answer."""
    before = digest_of(state)
    shown = on(state, *command, *WHY, "--dry-run", "--json")
    assert (shown.code, digest_of(state)) == (0, before)
    first = on(state, *command, *WHY, "--key", "k", "--json")
    after = digest_of(state)
    assert first.code == 0 and after != before
    assert on(state, *command, *WHY, "--key", "k", "--json").json == first.json
    other = on(state, *command, "--reason", "else", "--key", "k")
    assert other.code == 1 and "choose a new key" in other.sentence
    assert digest_of(state) == after


HOLD = ("hold", "acme")
BAD: list[tuple[tuple[str, ...], int, str]] = [
    *(((*HOLD, a, "--for", "1d"), 2, "the amount") for a in ("0", "-5", "0.0000001", "NaN")),
    ((*HOLD, "4611686018427.387905", "--for", "1d"), 2, "larger than 2^62"),
    ((*HOLD, "40.000001", "--for", "1d"), 1, "a hold of 40.000001 is above the 40.00 available"),
    ((*HOLD, "1", "--for", "100d"), 1, "give a shorter --for"),
    ((*HOLD, "1", "--for", "0s"), 2, "--for 0s is out of range"),
    ((*HOLD, "1", "--for", "soon"), 2, "--for"),
    (("hold", "nobody", "1", "--for", "1d"), 1, "no startup 'nobody'"),
    (("hold", "settle", "h999"), 1, "there is no hold h999"),
    (("hold", "void", "h999"), 1, "there is no hold h999"),
    (("milestone", "acme", "acme-2", "never"), 1, "it has demo-day, late"),
    (("milestone", "acme", "acme-2", "late"), 1, "can be confirmed from"),
    (("milestone", "acme", "acme-9", "late"), 1, "has no grant acme-9"),
    (("milestone", "nobody", "acme-2", "late"), 1, "no startup 'nobody'"),
    (("advance", "acme", "acme-1", "--credits", "60.5"), 1, "more than the 60.00"),
    (("advance", "acme", "acme-1", "--credits", "0"), 2, "the amount"),
    (("advance", "acme", "acme-9"), 1, "has no grant acme-9"),
    (("advance", "birch", "birch-1"), 1, "no tranche that begins later"),
]


@pytest.mark.parametrize(("command", "code", "why"), BAD, ids=[str(n) for n in range(len(BAD))])
def test_bad_input_is_one_sentence_and_no_change(
    state: Path, command: tuple[str, ...], code: int, why: str
) -> None:
    """I24: a refusal exits 1 or 2 with one line that says why, and changes no row."""
    before = digest_of(state)
    ended = on(state, *command, *WHY)
    assert (ended.code, ended.out, why in ended.err) == (code, "", True), ended.err
    assert ended.err.startswith("cohortd: ") and ended.err.count("\n") == 1
    assert digest_of(state) == before


def test_a_settle_is_bounded_by_the_hold(state: Path) -> None:
    """A settlement above the hold, or for usage outside its time, is refused."""
    id = on(state, *HOLD, "5", "--for", "1d", *WHY, "--json").json["hold"]
    before = digest_of(state)
    more = on(state, "hold", "settle", id, "--credits", "6", *WHY)
    assert more.code == 1 and "more than the 5.00" in more.sentence
    early = on(state, "hold", "settle", id, "--used-until", "2020-01-01T00:00:00Z", *WHY)
    assert early.code == 1 and "is not within hold" in early.sentence
    assert digest_of(state) == before


def grant_60(state: str, number: int) -> None:
    """One operator grants more than half of what the budget has left."""
    run_in_process("grant", "birch", "1600", "--id", f"b{number}", *WHY, "--state", state)


def test_two_operators_at_once_do_not_pass_the_budget(state: Path) -> None:
    """Two processes grant at once, and one of them is refused."""
    fork = multiprocessing.get_context("fork")
    both = [fork.Process(target=grant_60, args=(str(state), n)) for n in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join(60)
    assert line(state, "birch")["granted"] == "3600.00"
    assert on(state, "verify", "--json").json["ok"]
