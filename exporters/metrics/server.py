"""The HTTP server of /metrics, /healthz and /readyz, on a thread of its own."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST

from exporters.metrics.daemon import Metrics


class MetricsServer:
    """A small HTTP server on its own thread. It reads no table and accepts no write."""

    def __init__(self, metrics: Metrics, host: str, port: int) -> None:
        handler = type("Handler", (_Handler,), {"metrics": metrics})
        self._server = ThreadingHTTPServer((host, port), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def address(self) -> str:
        """The host:port it listens on; port 0 picks a free port."""
        host, port = self._server.server_address[:2]
        return f"{host!s}:{port}"

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    metrics: Metrics
    timeout = 10

    def do_GET(self) -> None:
        """Answer one of three paths."""
        if self.path == "/metrics":
            self._answer(200, self.metrics.render(), CONTENT_TYPE_LATEST)
        elif self.path == "/healthz":
            self._answer(200, b"ok\n", "text/plain")
        elif self.path == "/readyz":
            status, body = (200, b"ready\n") if self.metrics.is_ready else (503, b"no cycle yet\n")
            self._answer(status, body, "text/plain")
        else:
            self._answer(404, b"try /metrics, /healthz or /readyz\n", "text/plain")

    def log_message(self, format: str, *args: object) -> None:
        """Log no scrape."""

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
