"""Text from outside: cleaned where it enters cohortd, and quoted for each place that shows it.

Names of servers, reasons of startups and replies of services are written by other people. Such a
text enters as one line of printable characters, so that no terminal obeys it, no log line is
forged by it, and no mark reverses it. A sink has its own dangers, and quotes the text once more.
"""

from __future__ import annotations

import json
import re

REPLACEMENT = "\ufffd"
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet computes a cell that begins with one of these."""
_INVISIBLE_SPACE = "\u200b"
_MENTION_OR_LINK = re.compile(r"[@<](?=\S)|\](?=\()")


def clean(text: str) -> str:
    """One line of printable characters: a space for white space, U+FFFD for anything else.

    Control characters, marks that reverse the direction, and lone surrogates are not printable.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c.isspace() else REPLACEMENT for c in text)


def clean_lines(text: str) -> str:
    """Lines of printable characters, for a terminal or the body of a mail."""
    return "\n".join(map(clean, text.split("\n")))


def json_text(value: object, indent: int | None = None) -> str:
    """JSON for a terminal: sorted, and with an escape for each character that is not printable."""
    text = json.dumps(value, indent=indent, sort_keys=True, ensure_ascii=False)
    # JSON has such characters only in strings, apart from the line breaks of the indent.
    return "".join(c if c == "\n" or c.isprintable() else json.dumps(c)[1:-1] for c in text)


def chat_text(text: str) -> str:
    """Lines for a chat: an invisible space breaks each mention (@everyone, <!here>) and link."""
    return _MENTION_OR_LINK.sub(lambda found: found[0] + _INVISIBLE_SPACE, clean_lines(text))


def csv_cell(value: object) -> object:
    """A cell that a spreadsheet shows and does not compute: an apostrophe precedes a formula."""
    if isinstance(value, str) and value.startswith(_FORMULA) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value
