"""A process that transfers credits at random and writes down every answer."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from random import Random

from quotas.book import Book
from quotas.book.actions.action import OperatorAction
from quotas.book.actions.execute import perform_action
from quotas.book.actions.refunds import TransferCommand
from quotas.ledger.corrections import Refused

STARTUPS = ("acme", "birch", "cedar", "delta")


def main(folder: str, worker: str) -> None:
    """Move credits once for each line that is read."""
    book, random = Book.open_existing(Path(folder)), Random(worker)
    for number, _ in enumerate(sys.stdin):
        sender, to = random.sample(STARTUPS, 2)
        command = TransferCommand(sender, to, random.randint(1, 600_000))
        operator_action = OperatorAction(command, "bank check", worker, 10, f"{worker}-{number}")
        try:
            answer = perform_action(book, operator_action)
        except Refused:
            answer = {}
        print(json.dumps({"key": operator_action.key, "answer": answer}), flush=True)
    book.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
