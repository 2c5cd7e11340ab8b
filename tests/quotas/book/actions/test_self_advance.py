"""Self-advances: how much of the next tranche, how often, and who is notified."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from quotas.book.actions.action import OperatorAction
from quotas.book.actions.advances import AdvanceCommand, SelfAdvanceCommand, take_ahead
from quotas.book.actions.execute import perform_action
from quotas.book.actions.grants import VoidCommand
from quotas.book.cycle.commit import apply_program, commit
from quotas.book.cycle.state import load_state
from quotas.book.reads.decisions import decision_from_row, last_decisions
from quotas.book.reads.overrides import read_operator_actions
from quotas.book.schema.tables import NOTICE, OUTBOX, TRANSFER
from quotas.book.session import Book
from quotas.book.verify.verify import verify
from quotas.decisions.record import is_recomputed
from quotas.ledger.corrections import Refused
from quotas.ledger.posting import post_due
from quotas.ledger.transfers import GrantBalance
from quotas.messages.catalogue import decision_text
from quotas.model.program import Grant, Mode, Policy, Program, Rollover, Tranche
from tests.builders import YEAR_S, Z, a_grant, a_program, a_startup, metered
from tests.quotas.book.book_builders import digest, lease_of, result_of

END_S = 10_000
"""When each tranche is followed by the next."""
CREDIT = 1_000_000
HALF = Rollover(500_000)
CTO, BOSS = "mailto://cto@acme.example", "mailto://ops@example.org"
ACTOR = "token:tok-1"


def tranched(
    name: str = "g1", rollover: Rollover | None = HALF, first_s: int = 0, end_s: int = YEAR_S
) -> Grant:
    """Three tranches of 100 credits, END_S apart."""
    tranches = tuple(Tranche(100 * CREDIT, first_s + n * END_S) for n in range(3))
    grant = replace(a_grant(name, 300 * CREDIT), tranches=tranches, rollover=rollover)
    return replace(grant, effective_s=first_s, expires_s=end_s)


def of(*grants: Grant, part_ppm: int = 500_000, mode: Mode = "enforce", **changes: Any) -> Program:
    """A program in which acme has these grants, and birch one of its own."""
    acme = a_startup(grants=grants or (tranched(),), contacts=(CTO,))
    birch = a_startup("birch", grants=(tranched("b1"),))
    policy = Policy(self_advance_ppm=part_ppm)
    return a_program(acme, birch, policy=policy, mode=mode, operators=(BOSS,), **changes)


def a_book(program: Program | None = None) -> Book:
    """A book with the program in force from 0 on."""
    book = Book.in_memory()
    apply_program(book, program or of(), 0, "tests")
    return book


def take(
    book: Book,
    amount: int | None = None,
    *,
    grant: str | None = None,
    at_s: int = 100,
    name: str = "acme",
    key: str | None = None,
) -> dict[str, Any]:
    """What acme hears when it takes so many credits ahead."""
    order = SelfAdvanceCommand(name, grant, None if amount is None else amount * CREDIT)
    return take_ahead(book, order, ACTOR, at_s, key)


def parts(book: Book) -> dict[str, GrantBalance]:
    """Acme's grants as they stand."""
    return {grant.id: grant for grant in load_state(book).grants if grant.startup == "acme"}


def test_half_of_the_next_tranche_is_there_at_once() -> None:
    """As a grant of its own, with the tranche's end and rollover; the answer says what remains."""
    book = a_book()
    answer = take(book)
    assert answer["sentence"] == (
        "50.00 credits of tranche g1/2 can be spent now, until 1970-01-01T05:33:20Z; 50.00 remain "
        "in the tranche, which begins at 1970-01-01T02:46:40Z"
    )
    found = parts(book)
    ahead, rest = found[answer["to_grant"]], found["g1/2"]
    assert (answer["to_grant"], answer["number"]) == ("g1/2.7", 7)
    assert (ahead.left_ucr, rest.left_ucr) == (50 * CREDIT, 50 * CREDIT)
    assert (ahead.effective_s, ahead.expires_s) == (100, rest.expires_s)
    assert (ahead.rolls_to, ahead.rollover) == (rest.rolls_to, rest.rollover) == ("g1/3", HALF)
    assert verify(book).fault is None


@pytest.mark.parametrize(
    ("part_ppm", "most"), [(250_000, "25.00"), (1_000_000, "100.00"), (1, "0.0001")]
)
def test_the_policy_says_how_much(part_ppm: int, most: str) -> None:
    """A part of what the tranche was granted, to the micro-credit; all of it is possible."""
    book = a_book(of(part_ppm=part_ppm))
    assert take(book)["advanced"] == most
    assert sum(grant.left_ucr for grant in parts(book).values()) == 300 * CREDIT


def test_it_is_the_part_of_what_was_granted_and_not_of_what_is_left() -> None:
    """An operator advanced 70 of 100: half of a hundred would be 50, and 30 are there."""
    book = a_book()
    perform_action(
        book, OperatorAction(AdvanceCommand("acme", "g1", 70 * CREDIT), "a demo", "ann", 50)
    )
    assert take(book)["advanced"] == "30.00"
    assert parts(book)["g1/2"].left_ucr == 0


def test_an_operator_may_still_advance_the_rest() -> None:
    """Before or after: the operator's own command knows no half."""
    book = a_book()
    take(book, 10)
    answer = perform_action(
        book, OperatorAction(AdvanceCommand("acme", "g1"), "a demo", "ann", 200)
    )
    assert answer["advanced"] == "90.00"


def test_the_next_one_may_be_taken_from_once_its_turn_comes() -> None:
    """Once for each tranche: when the second has begun, the third is the next."""
    book = a_book()
    take(book, 10)
    assert "g1/2 was taken ahead before" in refusal(book)
    assert "g1/2 was taken ahead before" in refusal(book, at_s=END_S - 1)
    assert take(book, at_s=END_S)["from_grant"] == "g1/3"
    assert "no tranche of acme is to come" in refusal(book, at_s=2 * END_S)


def test_without_a_grant_it_is_the_one_that_begins_first() -> None:
    """Of two grants the one whose tranche begins first; the other once that was taken from."""
    book = a_book(of(tranched(), tranched("g2", first_s=-1)))
    assert take(book)["from_grant"] == "g2/2"
    assert take(book)["from_grant"] == "g1/2"
    assert "g2/2 was taken ahead before" in refusal(book)
    assert "g1/2 was taken ahead before" in refusal(book, grant="g1")
    named = a_book(of(tranched(), tranched("g2", first_s=-1)))
    assert take(named, grant="g1")["from_grant"] == "g1/2"


def refusal(book: Book, amount: int | None = None, **how: Any) -> str:
    """The sentence of a refusal, which changes nothing in the book."""
    before = digest(book)
    with pytest.raises(Refused) as refused:
        take(book, amount, **how)
    assert digest(book) == before
    return str(refused.value)


PROBLEM_RESPONSES: dict[str, tuple[Program, dict[str, Any], str]] = {
    "more than the half": (of(), {"amount": 51}, "more than the 50.00 of tranche g1/2"),
    "nothing at all": (of(), {"amount": 0}, "0.00 credits cannot be taken ahead"),
    "less than nothing": (of(), {"amount": -5}, "give an amount above zero"),
    "a grant of nobody": (of(), {"grant": "g9"}, "acme has no grant g9; it has g1"),
    "a neighbour's grant": (of(), {"grant": "b1"}, "acme has no grant b1; it has g1"),
    "a tranche for a grant": (of(), {"grant": "g1/2"}, "acme has no grant g1/2; it has g1"),
    "switched off": (of(part_ppm=0), {}, "this program lets startups take nothing ahead"),
    "a grant that has no tranches": (of(a_grant()), {}, "no tranche of acme is to come"),
    "a grant whose tranches have all begun": (
        of(tranched(), tranched("g2", first_s=-3 * END_S)),
        {"grant": "g2"},
        "no tranche of g2 is to come",
    ),
    "tranches that wait for a milestone": (
        of(replace(a_grant(), tranches=(Tranche(CREDIT, None, "demo"),))),
        {},
        "no tranche of acme is to come",
    ),
    "tranches that begin after the cohort's end": (
        of(ends_s=END_S),
        {},
        "no tranche of acme is to come",
    ),
    "before the cohort starts": (
        of(starts_s=1_000),
        {},
        "before your cohort starts, at 1970-01-01T00:16:40Z",
    ),
    "who is not in the program": (of(), {"name": "cedar"}, "cedar is not in the program any more"),
}


@pytest.mark.parametrize("case", PROBLEM_RESPONSES)
def test_a_refusal_is_one_sentence_and_no_change(case: str) -> None:
    """What may not be taken ahead, and why; no other startup is named."""
    program, how, says = PROBLEM_RESPONSES[case]
    found = refusal(a_book(program), **how)
    assert says in found and "\n" not in found
    assert "birch" not in found


def test_what_was_voided_cannot_be_taken() -> None:
    """Nothing of the tranche is left; the one after it is not the next."""
    book = a_book()
    perform_action(book, OperatorAction(VoidCommand("acme", "g1/2"), "a breach", "ann", 50))
    assert refusal(book) == "nothing of tranche g1/2 is left to take ahead"


def test_the_same_key_takes_once_and_tells_once() -> None:
    """A repeated write hears its first answer; another order under its key is refused."""
    book = a_book()
    first = take(book, 10, key="inbox:1")
    before = digest(book)
    assert take(book, 10, key="inbox:1", at_s=500) == first
    assert digest(book) == before
    assert "was used for another command" in refusal(book, 11, key="inbox:1")


def messages(book: Book) -> list[tuple[str, str]]:
    """Audience and recipient of every message in the outbox."""
    with book.reading() as connection:
        rows = connection.execute(OUTBOX.select().order_by(OUTBOX.c.event)).mappings()
        return sorted((row["audience"], row["recipient"]) for row in rows)


@pytest.mark.parametrize("mode", ["enforce", "shadow"])
def test_the_startup_and_its_operators_are_told(mode: Mode) -> None:
    """A decision that can be recomputed, and a message for every channel: it is no trial."""
    book = a_book(of(mode=mode))
    take(book, 10)
    (row,) = last_decisions(book, 9)
    assert (row["startup"], row["rule"], row["verb"], row["mode"]) == (
        *("acme", "advance", "advance"),
        "enforce",
    )
    decision = decision_from_row(row)
    assert is_recomputed(decision)
    assert decision_text(decision) == (
        "token:tok-1 took 10.00 credits of tranche g1/2 of acme ahead, of 50.00 at most; 90.00 "
        "remain in it, to be spent from 1970-01-01T02:46:40Z on"
    )
    assert messages(book) == [("operator", BOSS), ("startup", CTO)]
    with book.reading() as connection:
        (notice,) = connection.execute(NOTICE.select()).mappings()
    assert (notice["state"], notice["deadline_s"], notice["facts"]) == (
        *("announced", END_S),
        decision.inputs,
    )
    (operator_action,) = (
        each for each in read_operator_actions(book, 9) if each["command"] == "advance"
    )
    assert (operator_action["actor"], operator_action["reason"]) == (
        ACTOR,
        "taken ahead by the startup itself",
    )


def test_in_mode_off_nobody_is_sent_anything() -> None:
    """The credits move all the same, and the decision is kept."""
    book = a_book(of(mode="off"))
    take(book, 10)
    assert len(last_decisions(book, 9)) == 1
    with book.reading() as connection:
        assert (messages(book), connection.execute(NOTICE.select()).all()) == ([], [])


def test_what_was_taken_ahead_ends_and_rolls_over_with_its_tranche() -> None:
    """Not spent by then: half of both moves on to the third tranche, and the rest expires."""
    book = a_book()
    ahead = take(book)["to_grant"]
    end_s = 2 * END_S
    posting = post_due(of(), load_state(book).grants, metered([], {Z: end_s}), end_s)
    lease = lease_of(book)
    commit(book, result_of(runs=[], transfers=posting.transfers), lease, end_s)
    found = parts(book)
    # The first left 50 to the second, 25 of which moved on with a quarter of the third.
    assert (found["g1/2"].left_ucr, found[ahead].left_ucr) == (0, 0)
    assert found["g1/3"].left_ucr == (100 + 25 + 25 + 25) * CREDIT
    kinds = [(t.kind, t.detail["grant"]) for t in posting.transfers if t.at_s == end_s]
    mine = [kind for kind, grant in kinds if grant == ahead]
    assert mine == ["rollover", "expiry"]
    assert verify(book).fault is None


def test_it_does_not_double_what_may_be_kept() -> None:
    """At most 30 credits of a tranche roll over: with what was taken ahead of it, still 30."""
    program = of(tranched(rollover=Rollover(1_000_000, 30 * CREDIT)))
    book = a_book(program)
    assert take(book)["from_grant"] == "g1/2"
    end_s = 2 * END_S
    posting = post_due(program, load_state(book).grants, metered([], {Z: end_s}), end_s)
    commit(book, result_of(runs=[], transfers=posting.transfers), lease_of(book), end_s)
    assert parts(book)["g1/3"].left_ucr == (100 + 30) * CREDIT
    assert verify(book).fault is None


def test_its_inputs_are_kept_with_the_transfer() -> None:
    """The order, the key and the answer are in the chain, as of any deed."""
    book = a_book()
    take(book, 10, key="inbox:1")
    with book.reading() as connection:
        row = connection.execute(
            TRANSFER.select().where(TRANSFER.c.key == "self-advance:acme:g1/2")
        ).one()
    detail = json.loads(row.detail)
    assert (row.kind, row.actor, row.epoch) == ("advance", ACTOR, 0)
    assert detail["operator_action"] == "inbox:1" and "SelfAdvanceCommand" in detail["command"]
