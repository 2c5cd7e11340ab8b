"""The API's site, which serves the portal beside it; a real browser; the site on a socket."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, sync_playwright

from exporters.api.app import build_app
from exporters.api.server import listener
from tests.exporters.api.api_fixture import PLENTY, ApiFixture, publishing
from tests.exporters.api.conftest import fresh_api, reading

__all__ = ["fresh_api", "reading"]

CHROMIUM = shutil.which("chromium")
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, once for all tests."""
    if CHROMIUM is None:
        pytest.skip("service: there is no chromium; on Debian, apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def address(fresh_api: ApiFixture) -> Iterator[str]:
    """Where the portal over the site listens."""
    with listening(fresh_api) as found:
        yield found


@contextmanager
def listening(at: ApiFixture) -> Iterator[str]:
    """A site's application on a socket of its own."""
    app = build_app(Path(at.state), at.inbox, at.clock.now_s, rates=PLENTY)
    made = listener("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, server_header=False))
    thread = threading.Thread(target=server.run, args=([made],), daemon=True)
    thread.start()
    with publishing(at.book, at.state, at.clock):
        yield f"http://127.0.0.1:{made.getsockname()[1]}/portal/"
    server.should_exit = True
    thread.join(10)
