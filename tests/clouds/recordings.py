"""Finds and reads the recorded answers of Scaleway."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from .scripted_http import Reply

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("COHORTD_SHARED", REPOSITORY.parent / "shared"))
RECORDED = SHARED / "scaleway" / "recorded"
ABSENT = Path("absent")
"""Stands in a parameter list for recordings that this machine does not have."""


@dataclass(frozen=True)
class Recording:
    """One recorded HTTP interaction."""

    method: str
    url: str
    status: int
    headers: dict[str, str]
    body: object

    @property
    def zone(self) -> str:
        """The zone in the path of its URL."""
        return urlsplit(self.url).path.split("/zones/")[1].split("/")[0]

    @property
    def page(self) -> int:
        """The page that was asked for."""
        return int(parse_qs(urlsplit(self.url).query).get("page", ["1"])[0])

    @property
    def content(self) -> bytes:
        """The body as bytes on the wire."""
        text = self.body if isinstance(self.body, str) else json.dumps(self.body)
        return text.encode()

    def reply(self) -> Reply:
        """What a server says that plays it back; the recorded length is of other bytes."""
        kept = {
            key: value for key, value in self.headers.items() if key.lower() != "content-length"
        }
        return Reply(self.status, self.content, kept)


def paths(folder: str) -> list[Path]:
    """Every recording under a folder, or a stand-in that skips the test (fails it in CI)."""
    return sorted((RECORDED / folder).glob("**/*.json")) or [ABSENT]


def read(path: Path) -> Recording:
    """Read one recording."""
    require(path)
    return _recording(json.loads(path.read_text()))


def read_lifecycle(path: Path) -> list[Recording]:
    """Read a whole ordered exchange."""
    require(path)
    return [_recording(raw) for raw in json.loads(path.read_text())["interactions"]]


def require(path: Path) -> None:
    """Skip where the recordings are absent; fail in CI, where they must be present."""
    if path != ABSENT:
        return
    reason = f"no recordings under {RECORDED}; COHORTD_SHARED names another place"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def _recording(raw: dict[str, object]) -> Recording:
    headers, status = raw["response_headers"], raw["status"]
    assert isinstance(headers, dict) and isinstance(status, int)
    return Recording(str(raw["method"]), str(raw["url"]), status, headers, raw["response_body"])
