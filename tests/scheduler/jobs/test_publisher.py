"""The publisher and its thread: the view follows the book, and what hangs delays nothing else."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from quotas.book import Address, Book, BookError
from scheduler.clock import ManualClock
from scheduler.demo.rehearsal import Frame, Rehearsal
from scheduler.jobs.publisher import Publisher
from scheduler.jobs.worker import Worker
from simulator.process import running
from tests.quotas.book.test_view_file import assert_equal

STARTS_S, DAYS, POLL_S = 1_799_103_600, 10, 6 * 3600


def test_the_view_equals_the_book_through_a_program(tmp_path: Path) -> None:
    """In a program with stops, restarts, outages and requests, each publishing shows every row."""
    address, published = Address(tmp_path), 0
    region_starts = ["--start", "2027-01-04T23:00:00+00:00", "--seed", "1", "--days", str(DAYS)]
    listen = ["--listen", "127.0.0.1:0", "--clock", "controller"]
    with running(*listen, *region_starts) as region, closing(Book.open(address)) as book:
        rehearsal = Rehearsal(region, book, STARTS_S, DAYS, POLL_S)
        clock = ManualClock(STARTS_S)
        publish = Publisher(book, address, clock)

        def watch(frame: Frame) -> None:
            nonlocal published
            published += 1
            if published % 5 == 0:
                publish()
                assert_equal(book, address.view)

        rehearsal.play(watch)
        assert published > 50


def test_a_commit_is_published_and_nothing_else(tmp_path: Path) -> None:
    """Without a commit the view's instant moves alone; a view that cannot be written is told."""
    clock, address = ManualClock(100), Address(tmp_path)
    with closing(Book.open(address)) as book:
        publish = Publisher(book, address, clock)
        publish()
        assert address.view.file is not None
        first = address.view.file.read_bytes()
        clock.move_to(160)
        publish()
        assert address.view.file.stat().st_mtime == 160
        assert address.view.file.read_bytes() == first
        address.view.file.unlink()
        address.view.folder.rmdir()
        address.view.folder.write_text("in the way")
        with pytest.raises((BookError, OSError)):
            publish()
        address.view.folder.unlink()
        publish()
        assert address.view.file.exists()


def test_work_that_hangs_ends_no_thread_but_its_own() -> None:
    """A stop returns although the work never does."""
    begun, never = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        never.wait()

    worker = Worker("hangs", 0.01, work, stop_s=0.1)
    worker.start()
    assert begun.wait(5)
    started = time.monotonic()
    worker.stop()
    assert time.monotonic() - started < 5
    never.set()


def test_an_error_is_logged_once_and_the_work_goes_on() -> None:
    """Whatever the work raises, it runs again."""
    runs = []

    def work() -> None:
        runs.append(1)
        if len(runs) < 3:
            raise ValueError("not yet")

    worker = Worker("fails", 0.01, work)
    worker.start()
    ends = time.monotonic() + 5
    while len(runs) < 4:
        assert time.monotonic() < ends
        time.sleep(0.01)
    worker.stop()
