"""The demo's endpoints: its portal, with a token for each startup, and its metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from exporters.metrics import Metrics, MetricsServer
from quotas.book import Address, Book
from quotas.book.actions.tokens import create_token
from quotas.book.inbox import Inbox
from quotas.model.tokens import Token
from quotas.model.units import DAY_S
from scheduler.cli.access.tokens import new_token
from scheduler.clock import SystemClock
from scheduler.jobs.publisher import publisher

LOOPBACK = "127.0.0.1"


@contextmanager
def serve_endpoints(
    book: Book, state: Path, startups: Iterable[str]
) -> Iterator[tuple[Metrics, list[str]]]:
    """Serve the portal and the metrics of a book on free ports until the block ends.

    Yields the metrics to publish to, and a line with each address and each token.
    """
    # Imported here: FastAPI takes longer to import than most commands take to run.
    from exporters.api.app import build_app
    from exporters.api.server import listener, serving

    clock = SystemClock()
    now_s = clock.now_s
    with ExitStack() as stack:
        publishing = publisher(book, state, clock)
        publishing.start()
        stack.callback(publishing.stop)
        inbox = Inbox(state)
        stack.callback(inbox.close)
        listening = listener(LOOPBACK, 0)
        stack.enter_context(serving(build_app(state, inbox, now_s, cycle_s=30), listening))
        metrics = Metrics(Address(state).file)
        scraped = MetricsServer(metrics, LOOPBACK, 0)
        scraped.start()
        stack.callback(scraped.close)
        lines = [
            f"portal  http://{LOOPBACK}:{listening.getsockname()[1]}/portal/",
            f"metrics http://{scraped.address}/metrics",
        ]
        for name in startups:
            text, token_hash = new_token()
            scopes = ("read", "request")
            token = Token("", "demo", name, scopes, now_s(), now_s() + DAY_S, None, "demo")
            create_token(book, token, token_hash)
            lines.append(f"token   {text}  {name}")
        yield metrics, lines
