"""The deadline of a delivery: it closes a connection whose peer is too slow.

A socket's timeout covers one read: a peer that sends a byte now and then never exceeds it.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Deadline:
    """The time limit of one delivery. At the limit the connection is cut and the delivery fails.

    Use it in `with`. It raises TimeoutError at the end of the block if the limit was exceeded.
    """

    def __init__(self, limit_s: int) -> None:
        self._limit_s = limit_s
        self._timer = threading.Timer(limit_s, self._expire)
        self._timer.daemon = True
        self._lock = threading.Lock()
        self._sock: socket.socket | None = None
        self._has_expired = False

    def __enter__(self) -> Deadline:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        # The timer may be cutting it now: closing it here could free its number for reuse.
        self._timer.join()
        if self._sock is not None:
            self._sock.close()
        if self._has_expired:
            raise TimeoutError(f"no end within {self._limit_s} s")

    def connect(self, host: str, port: int, timeout_s: float) -> socket.socket:
        """A connection with the deadline; `timeout_s` limits each step. Raises OSError.

        It may be called again after a failure, until the limit is exceeded.
        """
        if not self._timer.is_alive():
            raise TimeoutError
        sock = socket.create_connection((host, port), timeout_s)
        with self._lock:
            if self._sock is not None:
                self._sock.close()  # of an earlier attempt
            # TLS takes the socket over before its handshake, so keep this handle of it.
            self._sock = sock.dup()
            if self._has_expired:
                self._shut_down()
        return sock

    def _expire(self) -> None:
        with self._lock:
            self._has_expired = True
            self._shut_down()

    def _shut_down(self) -> None:
        if self._sock is not None:
            with suppress(OSError):  # the peer may have closed it already
                self._sock.shutdown(socket.SHUT_RDWR)
