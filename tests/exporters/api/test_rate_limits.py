"""Rates by the minute, and tokens that are remembered no longer than they hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporters.api.access import FixedWindow, RateLimits
from quotas.book.actions.tokens import revoke_token
from quotas.book.reads.changes import DataVersion, SqliteWatch

from .api_fixture import NOW_S, ApiFixture, api_fixture


def test_a_minute_counts_each_apart_and_is_forgotten() -> None:
    """The most and no more, for each bearer; a new minute, even an earlier one, begins at none."""
    minute = FixedWindow()
    assert [minute.admits("a", 2, 119) for _ in range(3)] == [True, True, False]
    assert minute.admits("b", 2, 60) and not minute.admits("a", 2, 60)
    assert minute.admits("a", 2, 120)
    assert minute.admits("a", 1, 59), "a clock that was set back locks nobody out"


def test_after_a_minute_a_token_goes_on(tmp_path: Path) -> None:
    """A 429 says to wait a minute. Writes have a rate beside their token's."""
    with api_fixture(tmp_path, RateLimits(per_token=3, writes=1)) as made:
        wrote = [made.ask("/v1/requests", method="POST").status_code for _ in range(2)]
        assert wrote == [422, 429]
        assert [made.ask("/v1/me").status_code for _ in range(2)] == [200, 429]
        made.clock.step(60)
        assert made.ask("/v1/me").status_code == 200
        assert made.ask("/v1/requests", method="POST").status_code == 422


def test_a_remembered_token_is_checked_at_each_request(tmp_path: Path) -> None:
    """Expiry and revocation hold at once for a token that was served a moment ago."""
    with api_fixture(tmp_path) as made:
        id = made.json("/v1/me")["token"]
        revoke_token(made.book, id, NOW_S)
        answer = made.ask("/v1/credits")
        assert answer.status_code == 401 and answer.json()["type"].endswith("token-revoked")
        assert made.ask("/v1/credits", "birch").status_code == 200
        made.clock.step(10**10)
        answer = made.ask("/v1/credits", "birch")
        assert answer.status_code == 401 and answer.json()["type"].endswith("token-expired")


def test_a_served_request_asks_the_book_once(
    reading: ApiFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One question to SQLite a request: whether anything was published."""
    asked, version = [], SqliteWatch.version

    def counted(self: SqliteWatch) -> DataVersion:
        asked.append(self)
        return version(self)

    reading.json("/v1/credits")
    monkeypatch.setattr(reading.client, "publish", lambda: None)
    monkeypatch.setattr(SqliteWatch, "version", counted)
    reading.json("/v1/credits")
    assert len(asked) == 1


def test_a_query_is_refused_after_the_token(reading: ApiFixture) -> None:
    """An unknown caller learns nothing of the parameters; a bearer learns which one is unknown."""
    assert reading.ask("/v1/credits?limt=1", None).status_code == 401
    answer = reading.ask("/v1/credits?limt=1")
    assert answer.status_code == 422 and "query.limt" in answer.json()["detail"]
