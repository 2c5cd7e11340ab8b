"""A clerk in a process of its own: moves credits at random and writes down every answer."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from random import Random

from quotas.book import Book
from quotas.book.actions.commands import Deed, TransferOrder
from quotas.book.actions.execute import perform
from quotas.ledger.corrections import Refused

STARTUPS = ("acme", "birch", "cedar", "delta")


def main(folder: str, clerk: str) -> None:
    """Move credits once for each line that is read."""
    book, random = Book.open_existing(Path(folder)), Random(clerk)
    for number, _ in enumerate(sys.stdin):
        giver, to = random.sample(STARTUPS, 2)
        order = TransferOrder(giver, to, random.randint(1, 600_000))
        deed = Deed(order, "bank check", clerk, 10, f"{clerk}-{number}")
        try:
            answer = perform(book, deed)
        except Refused:
            answer = {}
        print(json.dumps({"key": deed.key, "answer": answer}), flush=True)
    book.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
