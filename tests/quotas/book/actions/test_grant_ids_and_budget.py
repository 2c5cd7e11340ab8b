"""Grants stay within the budget, and an id names one grant, by file and by command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from quotas.book.actions.execute import perform_action
from quotas.book.actions.grants import GrantCommand, MilestoneCommand, VoidCommand
from quotas.book.actions.refunds import TransferCommand
from quotas.book.cycle import commit
from quotas.book.cycle.commit import apply_program
from quotas.book.session import Book
from quotas.book.verify.verify import verify
from quotas.ledger.corrections import Refused
from quotas.model.program import Grant, Program, ProgramError, Tranche
from tests.builders import Z, a_grant, a_program, a_startup

from ..action_builders import an_action
from ..book_builders import amounts, digest

BY_S = 60_000
SOME = (Tranche(20, 0), Tranche(30, BY_S))
REACHED = (Tranche(25, None, "demo"), Tranche(15, None, "launch", BY_S))


def having(*acme: Grant, birch: Sequence[Grant] = (), budget_ucr: int = 100) -> Program:
    """A program of acme and birch with these grants."""
    members = a_startup("acme", grants=acme), a_startup("birch", grants=tuple(birch))
    cohorts = a_program(*members, zones=(Z,)).cohorts
    return Program("program", budget_ucr, cohorts=cohorts)


def apply(book: Book, program: Program, now_s: int = 50_000) -> None:
    """Put it in force; a refusal leaves the book as it was."""
    before = digest(book)
    try:
        apply_program(book, program, now_s, "tests")
    except ProgramError:
        assert digest(book) == before
        raise


def book_of(*acme: Grant) -> Book:
    """A book in which a program with these grants of acme is in force."""
    book = Book.in_memory()
    apply(book, having(*acme), 0)
    return book


def granted(book: Book, cohort: str = "spring") -> int:
    """What the sponsor gave to a cohort, less what was voided."""
    return -amounts(book)[f"sponsor:{cohort}"]


def test_a_file_adds_no_more_than_command_and_file_have_left() -> None:
    """60 by file and 40 by command are the whole budget; a dearer file is told both figures."""
    book = book_of(a_grant("g1", 60))
    perform_action(book, an_action(GrantCommand("birch", "b1", 40)))
    more = (a_grant("g1", 60), a_grant("g2", 40))
    with pytest.raises(
        ProgramError,
        match=r"program\.budget = 0\.0001 is below the 0\.00014 credits of all grants: 0\.0001 in "
        r"the book, and 0\.00004 that this file adds.*; raise program\.budget",
    ):
        apply(book, having(*more))
    apply(book, having(*more, budget_ucr=140))
    assert granted(book) == 140


def test_a_file_that_changes_nothing_is_taken_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """A book of before, above its budget: a restart with the same file starts."""
    book, file = Book.in_memory(), having(a_grant("g1", 140))
    monkeypatch.setattr(commit, "check_program_grants", lambda *_: None)
    apply(book, file, 0)
    monkeypatch.undo()
    before = digest(book)
    apply(book, file)
    assert digest(book) == before


def test_what_a_command_granted_may_be_written_into_the_file() -> None:
    """It is counted once."""
    book = book_of(a_grant("g1", 60))
    perform_action(book, an_action(GrantCommand("birch", "b1", 40)))
    apply(book, having(a_grant("g1", 60), birch=[a_grant("b1", 40, effective_s=50_000)]))
    assert granted(book) == 100


def test_what_is_voided_can_be_granted_again() -> None:
    """The room that it took is there for a file."""
    book = book_of(a_grant("g1", 60))
    perform_action(book, an_action(GrantCommand("birch", "b1", 40)))
    perform_action(book, an_action(VoidCommand("birch", "b1")))
    apply(book, having(a_grant("g1", 60), a_grant("g2", 40)))
    assert granted(book) == 100


def test_a_budget_below_what_is_granted_is_refused() -> None:
    """Lowering it takes nothing back."""
    book = book_of(a_grant("g1", 30))
    perform_action(book, an_action(GrantCommand("birch", "b1", 40)))
    with pytest.raises(ProgramError, match=r"below the 0\.00007 credits of all grants"):
        apply(book, having(a_grant("g1", 30), budget_ucr=69))
    apply(book, having(a_grant("g1", 30), budget_ucr=70))


def in_autumn(*grants: Grant) -> Program:
    """The same program after its cohort: only autumn with cedar is in its file."""
    cedar = replace(a_startup("cedar", grants=grants), cohort="autumn")
    (spring,) = having().cohorts
    return Program("program", 100, cohorts=(replace(spring, name="autumn", startups=(cedar,)),))


def test_a_cohort_that_left_the_file_counts_in_the_budget() -> None:
    """60 of spring leave 40 to autumn, for its file and for a command, until spring's are void."""
    book = book_of(a_grant("g1", 60))
    with pytest.raises(ProgramError, match=r"below the 0\.000101 credits of all grants"):
        apply(book, in_autumn(a_grant("c1", 41)))
    apply(book, in_autumn(a_grant("c1", 30)))
    with pytest.raises(Refused, match=r"at most 0\.00001 remain"):
        perform_action(book, an_action(GrantCommand("cedar", "c2", 11)))
    perform_action(book, an_action(VoidCommand("acme", "g1")))
    perform_action(book, an_action(GrantCommand("cedar", "c2", 70)))
    assert (granted(book), granted(book, "autumn")) == (0, 100)


def test_room_is_kept_for_a_milestone() -> None:
    """50 and milestones of 40 leave 10, to a command and to a file; then both are confirmed."""
    waits = a_grant("m", 40, tranches=REACHED)
    book = book_of(a_grant("g1", 50), waits)
    with pytest.raises(Refused, match=r"at most 0\.00001 remain, with 0\.00004 kept for milest"):
        perform_action(book, an_action(GrantCommand("birch", "b1", 11)))
    perform_action(book, an_action(GrantCommand("birch", "b1", 10)))
    with pytest.raises(ProgramError, match=r"0\.00006 in the book, and 0\.000041 that this file"):
        apply(book, having(a_grant("g1", 50), waits, birch=[a_grant("b2", 1)]))
    for name in ("demo", "launch"):
        perform_action(book, an_action(MilestoneCommand("acme", "m", name)))
    assert granted(book) == 100 and verify(book).fault is None


def test_no_room_is_kept_for_a_milestone_that_cannot_be_reached() -> None:
    """After its `by`, and after a void of its grant, nothing comes of it."""
    book = book_of(a_grant("g1", 60), a_grant("m", 40, tranches=REACHED))
    perform_action(book, an_action(GrantCommand("birch", "b1", 15), now_s=BY_S))
    with pytest.raises(Refused, match=r"at most 0\.00 remain"):
        perform_action(book, an_action(GrantCommand("birch", "b2", 1), now_s=BY_S))
    perform_action(book, an_action(MilestoneCommand("acme", "m", "demo"), now_s=BY_S))
    perform_action(book, an_action(VoidCommand("acme", "m"), now_s=BY_S))
    perform_action(book, an_action(GrantCommand("birch", "b2", 25), now_s=BY_S))
    early = book_of(a_grant("g1", 60), a_grant("m", 40, tranches=REACHED))
    perform_action(early, an_action(MilestoneCommand("acme", "m", "demo")))
    perform_action(early, an_action(VoidCommand("acme", "m")))
    perform_action(early, an_action(GrantCommand("birch", "b1", 40)))
    assert granted(book) == granted(early) == 100


@pytest.mark.parametrize("tranches", [SOME, REACHED], ids=["dated", "milestones"])
@pytest.mark.parametrize("name", ["acme", "birch"])
def test_a_command_does_not_take_the_id_of_a_grant_in_tranches(
    tranches: tuple[Tranche, ...], name: str
) -> None:
    """Neither for its startup nor for another; a void of it takes its own tranches only."""
    whole_ucr = sum(tranche.amount_ucr for tranche in tranches)
    book = book_of(a_grant("t", whole_ucr, tranches=tranches))
    with pytest.raises(Refused, match="--id t is a grant of acme already; choose a new id"):
        perform_action(book, an_action(GrantCommand(name, "t", 1)))


@pytest.mark.parametrize("tranches", [SOME, REACHED], ids=["dated", "milestones"])
@pytest.mark.parametrize("name", ["acme", "birch"])
def test_a_file_does_not_take_the_id_of_a_grant_by_command(
    tranches: tuple[Tranche, ...], name: str
) -> None:
    """A grant in tranches whose id is taken is refused, whoever has it."""
    book = book_of()
    perform_action(book, an_action(GrantCommand(name, "t", 1)))
    whole_ucr = sum(tranche.amount_ucr for tranche in tranches)
    says = f"grant t of acme has the id of a grant without tranches of {name} in the book; choose"
    with pytest.raises(ProgramError, match=says):
        apply(book, having(a_grant("t", whole_ucr, tranches=tranches)))


@pytest.mark.parametrize("name", ["acme", "birch"])
def test_a_file_does_not_take_the_id_of_a_grant_in_tranches(name: str) -> None:
    """Neither its own startup, whole instead, nor another startup in its place."""
    book = book_of(a_grant("t", 50, tranches=SOME))
    new = (a_grant("t", 50),)
    changed = having(*new) if name == "acme" else having(birch=new)
    says = f"grant t of {name} has the id of a grant in tranches of acme in the book; choose"
    with pytest.raises(ProgramError, match=says):
        apply(book, changed)


def test_what_was_transferred_takes_no_id() -> None:
    """A part of acme's tranche is birch's now, and acme's file is applied as before."""
    book = book_of(a_grant("t", 50, tranches=SOME))
    perform_action(book, an_action(TransferCommand("acme", "birch", 5)))
    apply(book, having(a_grant("t", 50, tranches=SOME), birch=[a_grant("b1", 50)]))
    assert granted(book) == 100
