"""Real receivers on free ports: an SMTP server, and an HTTP server with scripted answers."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller


@dataclass
class Mailbox:
    """What an SMTP server took; `answer` is what it says to each recipient or mail."""

    mails: list[EmailMessage] = field(default_factory=list)
    to_recipient: str = "250 OK"
    to_mail: str = "250 OK"
    host: str = "127.0.0.1"
    port: int = 0

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, to: str, _: Any) -> str:
        """Take or refuse a recipient."""
        if self.to_recipient.startswith("2"):
            envelope.rcpt_tos.append(to)
        return self.to_recipient

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """Keep the mail, where it is taken."""
        if self.to_mail.startswith("2"):
            parsed = BytesParser(policy=default).parsebytes(envelope.content)
            assert isinstance(parsed, EmailMessage)
            self.mails.append(parsed)
        return self.to_mail


@contextmanager
def smtp_server() -> Iterator[Mailbox]:
    """A running SMTP server."""
    # The controller connects to its own port to see it up, so it must know the port.
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        mailbox = Mailbox(port=free.getsockname()[1])
    controller = Controller(mailbox, hostname="127.0.0.1", port=mailbox.port)
    controller.start()
    try:
        yield mailbox
    finally:
        controller.stop(no_assert=True)


@dataclass
class HttpReceiver:
    """What an HTTP server was sent: headers and bodies; and what it answers."""

    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    status: int = 204
    location: str = ""
    port: int = 0


@contextmanager
def http_server(tls: ssl.SSLContext | None = None) -> Iterator[HttpReceiver]:
    """A running HTTP server on loopback, with TLS where it is given any."""
    hook = HttpReceiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hook.requests.append((self.path, dict(self.headers), body))
            self.send_response(hook.status)
            if hook.location:
                self.send_header("Location", hook.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hook.port = server.server_address[1]
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class SlowServer:
    """A server that says `first` to whoever connects, then a byte every tenth of a second."""

    first: bytes
    port: int = 0
    was_disconnected: threading.Event = field(default_factory=threading.Event)
    """Set once the other side hung up, while there was more to say."""

    def answer(self, server: socket.socket, is_over: threading.Event) -> None:
        """Answer one connection, for twenty seconds at most."""
        line, _ = server.accept()
        with line:
            try:
                line.sendall(self.first)
                for _ in range(200):
                    if is_over.wait(0.1):
                        return
                    line.sendall(b"x")
            except OSError:
                self.was_disconnected.set()


@contextmanager
def slow_server(first: bytes) -> Iterator[SlowServer]:
    """A running server on loopback that never comes to an end."""
    slow, is_over = SlowServer(first), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        slow.port = server.getsockname()[1]
        thread = threading.Thread(target=slow.answer, args=(server, is_over))
        thread.start()
        try:
            yield slow
        finally:
            is_over.set()
            thread.join()
