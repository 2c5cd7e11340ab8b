"""A token is found by scanners, a typing error by its checksum, and its state by the clock."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotas.model.tokens import Token, check_scopes, fingerprint, write_token


@given(st.binary(min_size=32, max_size=32))
def test_every_token_has_the_published_shape(secret: bytes) -> None:
    """cohortd_ and 58 letters of base32, which has a fingerprint that is not the token."""
    text = write_token(secret)
    assert re.fullmatch(r"cohortd_[a-z2-7]{58}", text)
    found = fingerprint(text)
    assert found is not None and len(found) == 64 and found not in text


@given(st.binary(min_size=32, max_size=32), st.integers(0, 57), st.sampled_from("abcxyz234567"))
def test_one_wrong_letter_is_found_offline(secret: bytes, at: int, letter: str) -> None:
    """Any other letter in any place makes it no token."""
    text = write_token(secret)
    place = len("cohortd_") + at
    wrong = text[:place] + letter + text[place + 1 :]
    assert (fingerprint(wrong) is None) == (wrong != text)


@pytest.mark.parametrize("text", ["", "cohortd_", "cohortd_" + "a" * 58, "COHORTD_" + "a" * 58])
def test_other_texts_are_no_tokens(text: str) -> None:
    """Neither a prefix alone nor letters without their checksum."""
    assert fingerprint(text) is None


def test_a_token_needs_all_its_bytes() -> None:
    """A shorter secret is refused, not padded."""
    with pytest.raises(ValueError, match="32 random bytes, not 31"):
        write_token(b"x" * 31)


@pytest.mark.parametrize(
    ("now_s", "revoked_s", "state"),
    [
        (0, None, "active"),
        (99, None, "active"),
        (100, None, "expired"),
        (49, 50, "active"),
        (50, 50, "revoked"),
        (200, 50, "revoked"),
    ],
)
def test_a_token_s_state_follows_the_clock(now_s: int, revoked_s: int | None, state: str) -> None:
    """It works until its end, or until its revocation, which may lie ahead."""
    token = Token("tok-1", "ci", "acme", ("read",), 0, 100, revoked_s, "tests")
    assert token.state(now_s) == state


@pytest.mark.parametrize(
    ("startup", "scopes", "says"),
    [
        ("acme", ("write",), "write one or more of read, request, node, power, admin, audit"),
        ("acme", (), "write one or more of"),
        ("acme", ("read", "admin"), "are for operators"),
        ("", ("read",), "act for a startup"),
        ("", ("admin", "request"), "act for a startup"),
        ("", ("node",), "act for a startup"),
        ("", ("power",), "act for a startup"),
    ],
)
def test_scopes_fit_their_bearer(startup: str, scopes: tuple[str, ...], says: str) -> None:
    """Operators' scopes go with no startup, a startup's with none of theirs."""
    with pytest.raises(ValueError, match=says):
        check_scopes(startup, scopes)
