"""Identity: which server of the startup this machine is.

Scaleway's metadata service tells each server its id, which decides where it answers. Elsewhere the
host name decides. Scaleway derives a host name from the server's name, and images change it again,
so names are compared without case, punctuation and domain.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from http.client import HTTPConnection, HTTPException
from typing import Any

METADATA_HOSTS = ("169.254.42.42", "fd00:42::42")
METADATA_PATH = "/conf?format=json"
TIMEOUT_S = 2
MAX_BYTES = 1_000_000
NAMES_SHOWN = 10
_PUNCTUATION = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class Identity:
    """The ids and names that this machine goes by; `source` says where they are from."""

    source: str
    ids: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()

    def matches(self, server_id: str | None, server_name: str | None) -> bool:
        """Whether a server with this id and name is this machine."""
        found = set().union(*(_spellings(name) for name in self.names))
        return server_id in self.ids or bool(found & _spellings(server_name or ""))

    def with_ids(self, ids: Iterable[str]) -> Identity:
        """The same identity with more ids, so that a renamed server is still found."""
        return replace(self, ids=self.ids | set(ids))


def named_server(servers: Iterable[str]) -> Identity:
    """The identity that a person gave: names or ids of servers."""
    given = frozenset(servers)
    return Identity(f"--server {', '.join(sorted(given))}", given, given)


def this_machine(
    read_metadata: Callable[[], bytes | None], host_name: Callable[[], str] = socket.gethostname
) -> Identity:
    """The identity by the metadata service, or else by the host name."""
    try:
        found = json.loads(read_metadata() or b"")["id"]
    except (ValueError, KeyError, TypeError):
        found = None
    if isinstance(found, str) and found:
        return Identity(f"server id {found}", frozenset({found}))
    name = host_name()
    return Identity(f"host name {name}", names=frozenset({name}))


def read_scaleway_metadata() -> bytes | None:
    """What the metadata service says of this machine; None where there is no such service.

    The connection is direct: a proxy would ask for the proxy's own machine.
    """
    for host in METADATA_HOSTS:
        connection = HTTPConnection(host, timeout=TIMEOUT_S)
        try:
            connection.request("GET", METADATA_PATH)
            answer = connection.getresponse()
            if answer.status == 200:
                return answer.read(MAX_BYTES)
        except (OSError, HTTPException):
            continue
        finally:
            connection.close()
    return None


def servers_text(servers: Iterable[Mapping[str, Any]]) -> str:
    """The names of servers for a log line, the first ones of many."""
    names = sorted(str(each["name"]) for each in servers)
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more if names else "none"


def _spellings(name: str) -> set[str]:
    """A name without case and punctuation, whole and without its domain."""
    parts = (name, name.partition(".")[0])
    return {_PUNCTUATION.sub("-", part.casefold()).strip("-") for part in parts} - {""}
