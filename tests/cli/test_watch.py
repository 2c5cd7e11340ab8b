"""`cohortd status --watch` refreshes the status on a terminal until ^C."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

from quotas.book import Book
from tests.scheduler.harness import Harness, server

from .command import MAIN, environment, restore_sigint


def test_watch_shows_the_sentence_and_ends_on_interrupt(tmp_path: Path) -> None:
    """The cycle's sentence is on top, with every startup below; ^C ends it with exit 0."""
    harness = Harness(book=Book.open(tmp_path))
    harness.cloud.add(server())
    harness.run(3600)
    harness.book.close()
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", MAIN, "status", "--state", str(tmp_path), "--watch"]
    child = subprocess.Popen(
        command,
        env=environment(TERM="xterm"),
        stdout=theirs,
        stderr=theirs,
        preexec_fn=restore_sigint,
    )
    os.close(theirs)
    try:
        seen = b""
        while b"acme" not in seen:
            seen += os.read(ours, 4096)
        assert b"1 startups, 8 of 40 GPUs" in seen
        child.send_signal(signal.SIGINT)
        assert child.wait(20) == 0
    finally:
        child.kill()
        child.wait(20)
        os.close(ours)
