"""Text from outside: cleaned at the entries, and quoted for each sink."""

from __future__ import annotations

import json

import pytest

from quotas.ledger import statements
from quotas.model.text import chat_text, clean, clean_lines, csv_cell, json_text

HOSTILE = "a\x1b[2J\r\nb\u202ec\x9b\ud800\u2028d"
"""An escape sequence, a line break, a mark that reverses text, and a lone surrogate."""


def test_a_text_enters_as_one_printable_line() -> None:
    """White space becomes a space, and anything that is not printable U+FFFD; letters stay."""
    assert clean(HOSTILE) == "a\ufffd[2J  b\ufffdc\ufffd\ufffd d"
    assert clean("modèle 训练 4,20 €") == "modèle 训练 4,20 €"
    assert clean(clean(HOSTILE)) == clean(HOSTILE)


def test_a_screen_gets_printable_lines() -> None:
    """Line breaks of our own texts stay; nothing else moves the cursor."""
    assert clean_lines("one\ntwo\rthree\x1b[A") == "one\ntwo three\ufffd[A"


def test_json_on_a_screen_is_the_same_value_in_printable_characters() -> None:
    """Each character that is not printable is escaped, above and below U+FFFF."""
    value = {"é": [HOSTILE, "\U000e0001"], "b": 1}
    shown = json_text(value, indent=2)
    assert json.loads(shown) == value and "é" in shown
    assert all(line.isprintable() for line in shown.split("\n"))


@pytest.mark.parametrize(
    "text", ["@everyone", "@here", "<!channel>", "<@123>", "<users/all>", "[pay](https://x.test)"]
)
def test_a_chat_mentions_nobody_and_hides_no_link(text: str) -> None:
    """An invisible space breaks the notation; the letters stay readable."""
    shown = chat_text(f"server {text} stops")
    assert text not in shown and shown.replace("\u200b", "") == f"server {text} stops"


@pytest.mark.parametrize(
    "text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "--1"]
)
def test_a_spreadsheet_computes_no_cell(text: str) -> None:
    """A cell that begins like a formula begins with an apostrophe."""
    assert csv_cell(text) == f"'{text}"


@pytest.mark.parametrize("value", ["-41.20", "+1", "acme", "", 5, -5, None])
def test_numbers_and_plain_cells_stay(value: object) -> None:
    """A negative amount is no formula."""
    assert csv_cell(value) == value


def test_a_statement_quotes_the_reasons_of_its_lines() -> None:
    """A reason that begins with '=' is a text in the CSV statement, and amounts stay numbers."""
    line = {"kind": "void", "reason": "=HYPERLINK(1)", "amount": "-4.20"}
    found = {
        "startup": "acme",
        "month": "2027-01",
        "opening": "0.00",
        "closing": "0.00",
        "lines": [line],
    }
    text = statements.csv_text(found)
    assert "'=HYPERLINK(1)" in text and ",-4.20" in text
