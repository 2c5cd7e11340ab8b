"""Errors of commands: the sentence that a person reads, and the exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


@contextmanager
def exit_with_sentence() -> Iterator[None]:
    """End the process as an error of the product asks for: 1 refused, 2 bad file, 3 not reached.

    The errors are imported here, because `cohortd --help` needs none of their packages.
    """
    from zoneinfo import ZoneInfoNotFoundError

    from sqlalchemy.exc import DataError, OperationalError

    from quotas.book import BookError, BookUnreachable
    from quotas.book.reads.history import InstantNotKnown
    from quotas.ledger.corrections import Refused
    from quotas.model.program import ProgramError
    from scheduler.cli.options import BAD_INPUT, REFUSED, UNREACHABLE
    from scheduler.clouds.base import CloudError
    from scheduler.config import ConfigError

    try:
        yield
    except Refused as error:
        end(f"refused: {error}", REFUSED)
    except InstantNotKnown as error:
        end(str(error), REFUSED)
    except (BookUnreachable, CloudError) as error:
        end(str(error), UNREACHABLE)
    except OperationalError as error:
        end(f"the book failed, try again: {' '.join(str(error.args[0]).split())}", UNREACHABLE)
    except (ProgramError, ConfigError, BookError) as error:
        end(str(error), BAD_INPUT)
    except ZoneInfoNotFoundError as error:
        fix = "install cohortd again with its dependency tzdata"
        end(f"the program cannot be evaluated on this host: {error.args[0]}: {fix}", BAD_INPUT)
    except (OverflowError, DataError):
        end("a number is larger than the book can hold: write a smaller one", BAD_INPUT)


def end(sentence: str, code: int) -> NoReturn:
    """Print a sentence, if there is one, without control characters, and exit."""
    if sentence:
        from quotas.model.text import clean_lines

        print(clean_lines(f"cohortd: {sentence}"), file=sys.stderr)
    sys.exit(code)
