"""Tokens on the command line: created, listed without secret, rotated and revoked."""

from __future__ import annotations

from pathlib import Path

import pytest
from freezegun import freeze_time

from quotas.book import Book
from quotas.book.actions.tokens import find_token, list_tokens
from quotas.model.tokens import fingerprint

from .operator_env import PROGRAM, OperatorEnv


def created(operator_env: OperatorEnv, *more: object) -> dict[str, str]:
    ran = operator_env.token("create", *more, "--name", "ci", "--json")
    assert ran.code == 0, ran.err
    made: dict[str, str] = ran.json
    return made


def test_a_token_is_printed_once_and_kept_as_a_hash(operator_env: OperatorEnv) -> None:
    """The token is on standard output only, and in no file of the state folder."""
    ran = operator_env.token("create", "acme", "--name", "ci", "--scope", "read,request")
    text = ran.out.strip()
    token_hash = fingerprint(text)
    assert token_hash is not None
    found = find_token(Book.open_existing(operator_env.state), token_hash)
    assert found is not None
    assert (found.startup, found.scopes, found.name) == ("acme", ("read", "request"), "ci")
    assert found.expires_s - found.created_s == 90 * 86_400
    listed = operator_env.token("list", "--json")
    secret = text.removeprefix("cohortd_")
    files = [path for path in Path(operator_env.folder).rglob("*") if path.is_file()]
    assert secret not in listed.out + operator_env.token("list").out
    assert all(secret.encode() not in path.read_bytes() for path in files)
    assert [(each["id"], each["state"]) for each in listed.json] == [(found.id, "active")]


def test_rotation_overlaps(operator_env: OperatorEnv) -> None:
    """The successor has the same rights, and the old one ends after the overlap."""
    old = created(operator_env, "acme", "--scope", "read,request")
    ran = operator_env.token("rotate", old["id"], "--overlap", "1h", "--json")
    new = ran.json
    assert (new["startup"], new["scopes"], new["name"]) == ("acme", ["read", "request"], "ci")
    assert fingerprint(new["token"]) != fingerprint(old["token"])
    rows = {each.id: each for each in list_tokens(Book.open_existing(operator_env.state))}
    ends_s = rows[old["id"]].revoked_s
    assert ends_s is not None and ends_s - rows[new["id"]].created_s == 3600
    assert rows[old["id"]].state(ends_s - 1) == "active"
    assert rows[old["id"]].state(ends_s) == "revoked"


@pytest.mark.parametrize(
    ("overlaps", "left_s"),
    [(("1h", "1d"), 3600), (("1d", "1h"), 3600), (("30d",), 86_400)],
    ids=["longer", "shorter", "beyond its expiry"],
)
def test_another_rotation_never_lengthens_the_overlap(
    operator_env: OperatorEnv, overlaps: tuple[str, ...], left_s: int
) -> None:
    """A token ends at the earliest of its expiry and of the overlaps that were promised."""
    with freeze_time("2027-02-01T10:00:00Z"):
        old = created(operator_env, "acme", "--expires", "1d")
        for overlap in overlaps:
            assert operator_env.token("rotate", old["id"], "--overlap", overlap).code == 0
    rows = {each.id: each for each in list_tokens(Book.open_existing(operator_env.state))}
    ends_s = rows[old["id"]].revoked_s
    assert ends_s is not None and ends_s - rows[old["id"]].created_s == left_s


def test_rotation_without_overlap_ends_the_old_one(operator_env: OperatorEnv) -> None:
    """--overlap 0s: the old token is revoked at once."""
    old = created(operator_env, "acme")
    assert operator_env.token("rotate", old["id"], "--overlap", "0s").code == 0
    states = {each["id"]: each["state"] for each in operator_env.token("list", "--json").json}
    assert states.pop(old["id"]) == "revoked"
    assert list(states.values()) == ["active"]


def test_a_revoked_token_stays_in_the_list(operator_env: OperatorEnv) -> None:
    """Revocation ends a token, says whose it was, and is refused a second time."""
    made = created(operator_env, "acme")
    assert "of acme is revoked" in operator_env.token("revoke", made["id"]).out
    assert [each["state"] for each in operator_env.token("list", "--json").json] == ["revoked"]
    again = operator_env.token("revoke", made["id"])
    assert again.code == 1 and "is revoked already" in again.err


def test_a_token_ends_when_its_time_is_over(operator_env: OperatorEnv) -> None:
    """After an hour a token of 1h is expired, and cannot be rotated or revoked."""
    with freeze_time("2027-02-01T10:00:00Z") as clock:
        made = created(operator_env, "acme", "--expires", "1h")
        assert (made["created"], made["expires"]) == (
            "2027-02-01T10:00:00Z",
            "2027-02-01T11:00:00Z",
        )
        for later_s, state in ((3599, "active"), (1, "expired")):
            clock.tick(later_s)
            listed = operator_env.token("list", "--json").json
            assert [each["state"] for each in listed] == [state]
        for command in ("rotate", "revoke"):
            ran = operator_env.token(command, made["id"])
            assert ran.code == 1 and "is expired already" in ran.err


def test_an_operator_s_token_has_no_startup(operator_env: OperatorEnv) -> None:
    """Tokens of scopes admin and audit belong to no startup."""
    made = created(operator_env, "--scope", "admin,audit")
    assert (made["startup"], made["scopes"]) == ("", ["admin", "audit"])


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        pytest.param(
            ("create", "nobody", "--name", "x"),
            1,
            "'nobody' is no startup of the program",
            id="the startup is unknown",
        ),
        pytest.param(
            ("create", "acme", "--name", "x", "--scope", "all"),
            2,
            "write one or more of",
            id="the scope is unknown",
        ),
        pytest.param(
            ("create", "acme", "--name", "x", "--scope", "admin"),
            2,
            "for operators",
            id="a startup may have no operator scope",
        ),
        pytest.param(
            ("create", "--name", "x"), 2, "act for a startup", id="a startup scope needs a startup"
        ),
        pytest.param(("create", "acme", "--name", ""), 2, "--name is ''", id="the name is empty"),
        pytest.param(
            ("create", "acme", "--name", "x" * 101),
            2,
            "1 to 100 printable",
            id="the name is too long",
        ),
        pytest.param(
            ("create", "acme", "--name", "x", "--expires", "10y"),
            2,
            "--expires '10y'",
            id="the expiry cannot be read",
        ),
        pytest.param(
            ("create", "acme", "--name", "x", "--expires", "400d"),
            2,
            "give 1s to 366d",
            id="the expiry is too late",
        ),
        pytest.param(
            ("create", "acme", "--name", "x", "--expires", "0s"),
            2,
            "--expires 0s is",
            id="the expiry is at once",
        ),
        pytest.param(
            ("revoke", "tok-none"),
            1,
            "there is no token tok-none",
            id="the revoked token is unknown",
        ),
        pytest.param(
            ("rotate", "tok-none"),
            1,
            "there is no token tok-none",
            id="the rotated token is unknown",
        ),
        pytest.param(
            ("rotate", "tok-none", "--overlap", "60d"),
            2,
            "give 0s to 30d",
            id="the overlap is too long",
        ),
    ],
)
def test_what_cannot_be_is_refused(
    operator_env: OperatorEnv, arguments: tuple[str, ...], code: int, says: str
) -> None:
    """A refusal is one sentence with the fix and its exit code, and makes no token."""
    ran = operator_env.token(*arguments)
    assert (ran.code, ran.out) == (code, "")
    assert says in ran.sentence
    assert list_tokens(Book.open_existing(operator_env.state)) == ()


def test_tokens_of_a_startup_that_leaves_end_after_90_days(operator_env: OperatorEnv) -> None:
    """A long token is shortened, a short one stays, and none is created or rotated."""
    long = created(operator_env, "birch", "--expires", "300d")
    short = created(operator_env, "birch", "--expires", "10d")
    stays = created(operator_env, "acme", "--expires", "300d")
    before = {each.id: each for each in list_tokens(Book.open_existing(operator_env.state))}
    operator_env.write(PROGRAM[: PROGRAM.index("[cohort.spring.startup.birch]")])
    assert operator_env.run("apply", "--confirm", "trial").code == 0
    after = {each.id: each for each in list_tokens(Book.open_existing(operator_env.state))}
    left_s = after[long["id"]].expires_s - after[long["id"]].created_s
    assert 90 * 86_400 <= left_s < 90 * 86_400 + 600
    for token in (short, stays):
        assert after[token["id"]] == before[token["id"]]
    assert operator_env.token("rotate", long["id"]).code == 1
    assert operator_env.token("create", "birch", "--name", "x").code == 1
