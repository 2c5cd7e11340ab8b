"""What ends a sending whose other side answers for ever? Its connection is cut.

A socket's timeout is for one read: an end that sends a byte now and then never meets it.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Deadline:
    """So long a sending may take; what it has connected by then is cut, and it has failed.

    Use it in `with`. Raises TimeoutError at its end if the time was over before.
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
        # It may be cutting just now: the handle must not be closed, and its number reused.
        self._timer.join()
        if self._sock is not None:
            self._sock.close()
        if self._has_expired:
            raise TimeoutError(f"no end within {self._limit_s} s")

    def connect(self, host: str, port: int, timeout_s: float) -> socket.socket:
        """A connection that is cut when the time is over; `timeout_s` for each step of it.

        Raises OSError.
        """
        sock = socket.create_connection((host, port), timeout_s)
        with self._lock:
            # TLS takes the socket over before it shakes hands; this handle of it stays.
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
            with suppress(OSError):  # the other side may have gone already
                self._sock.shutdown(socket.SHUT_RDWR)
