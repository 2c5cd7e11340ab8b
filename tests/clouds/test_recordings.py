"""Every recorded answer of our endpoints parses, or is refused with a typed error."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from quotas.model.observation import Complete, Unknown
from scheduler.clouds.base import (
    CloudError,
    Conflict,
    Forbidden,
    KeyRefused,
    NotFound,
    OutOfStock,
    QuotaExceeded,
    RequestRejected,
    ServerFault,
    Throttled,
)

from .recordings import ABSENT, Recording, paths, read, read_lifecycle, require
from .scripted_http import ORGANIZATION, ZONE, Harness, Reply, harness, query, server_id

EXPECTED: Mapping[int, type[CloudError]] = {
    400: RequestRejected,
    401: KeyRefused,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: NotFound,
    412: Conflict,
    429: Throttled,
    500: ServerFault,
    501: ServerFault,
    503: ServerFault,
}
EXCEPTIONS: Mapping[str, type[CloudError]] = {
    "instance_POST_precondition_failed__20251008": Conflict,
    "account_POST_quotas_exceeded__20260521": QuotaExceeded,
    "transactional-email_POST_quotas_exceeded__20250314": QuotaExceeded,
    "instance_POST_invalid_request_error_ips_20200220": QuotaExceeded,
    "llm-inference_POST_out_of_stock_L4_20240528": OutOfStock,
}
"""Recordings whose body says more than their status does."""


def name_of(path: Path) -> str:
    """A short id for a parameter."""
    return path.stem


def first_server(recording: Recording) -> dict[str, str]:
    """The first server in a recorded answer, or one of our own organization."""
    assert isinstance(recording.body, dict)
    servers = recording.body.get("servers", [recording.body.get("server")])
    return servers[0] if servers else {"organization": ORGANIZATION}


@pytest.mark.parametrize("path", paths("instance/servers_list"), ids=name_of)
def test_recorded_list_is_complete(path: Path) -> None:
    """A recorded listing of servers is a Complete sweep with each of them."""
    recording = read(path)
    organization = first_server(recording)["organization"]
    sweep = harness(recording.reply(), organization=organization).cloud.sweep(recording.zone, 7)
    assert isinstance(sweep, Complete) and sweep.at_s == 7
    assert isinstance(recording.body, dict)
    assert [(server.id, server.state) for server in sweep.servers] == [
        (raw["id"], raw["state"]) for raw in recording.body["servers"]
    ]


@pytest.mark.parametrize("path", paths("instance/server_get"), ids=name_of)
def test_recorded_server_parses(path: Path) -> None:
    """A recorded server keeps its state, and is free only when stopping or stopped."""
    recording = read(path)
    raw = first_server(recording)
    far = harness(recording.reply(), organization=raw["organization"])
    server = far.cloud.server(recording.zone, raw["id"])
    assert (server.state, server.project_id) == (raw["state"], raw["project"])
    assert server.is_billable == (raw["state"] not in ("stopping", "stopped"))
    assert 1_500_000_000 < server.created_s <= server.modified_s


@pytest.mark.parametrize("path", paths("instance/server_action"), ids=name_of)
def test_recorded_action_is_taken_on(path: Path) -> None:
    """A recorded 202 with its task is a success, for every action."""
    recording = read(path)
    harness(recording.reply()).cloud.power_off(recording.zone, server_id(1))


@pytest.mark.parametrize("path", paths("lifecycles"), ids=name_of)
def test_recorded_lifecycle_parses(path: Path) -> None:
    """Each server shown in a whole recorded exchange parses; each refusal is typed."""
    for recording in read_lifecycle(path):
        parts = urlsplit(recording.url).path.strip("/").split("/")
        if recording.method != "GET" or parts[0] != "instance" or parts[4:5] != ["servers"]:
            continue
        if len(parts) != 6:
            continue
        if recording.status == 200:
            raw = first_server(recording)
            far = harness(recording.reply(), organization=raw["organization"])
            assert far.cloud.server(recording.zone, parts[5]).state == raw["state"]
        else:
            with pytest.raises(NotFound):
                harness(recording.reply()).cloud.server(recording.zone, parts[5])


def catalogues() -> dict[str, list[Path]]:
    """The recorded pages of products/servers, by zone and day."""
    sets: dict[str, list[Path]] = {}
    for path in paths("instance/products_servers"):
        sets.setdefault(path.stem.rsplit("_p", 1)[0], []).append(path)
    return sets


def catalogue(pages: list[Path]) -> tuple[Harness, dict[int, Recording]]:
    """A cloud that serves these pages, and 404 for those that were not recorded."""
    by_page = {recording.page: recording for recording in map(read, pages)}

    def answer(request: requests.PreparedRequest) -> Reply:
        recording = by_page.get(query(request, "page"))
        return Reply(404) if recording is None else recording.reply()

    return harness(answer), by_page


@pytest.mark.parametrize("name", catalogues())
def test_recorded_catalogue_is_read_to_its_last_page(name: str) -> None:
    """A recorded catalogue yields each of its types; one with a page missing is refused."""
    far, by_page = catalogue(catalogues()[name])
    some = next(iter(by_page.values()))
    total = int(some.headers["X-Total-Count"])
    rows = [row for page in by_page.values() for row in page.body["servers"]]  # type: ignore[index]
    if len(rows) < total:
        with pytest.raises(CloudError):
            far.cloud.offers(some.zone)
    else:
        assert [offer.commercial_type for offer in far.cloud.offers(some.zone)] == sorted(rows)


def stocks() -> dict[str, list[Path]]:
    """The recorded pages of availability, by zone and instant."""
    sets: dict[str, list[Path]] = {}
    for path in paths("instance/products_servers_availability"):
        sets.setdefault(path.stem.rsplit("_p", 1)[0], []).append(path)
    return sets


@pytest.mark.parametrize("name", stocks())
def test_recorded_stock_is_read_to_its_last_page(name: str) -> None:
    """Each type has the zone's word for its stock; a listing with a missing page is refused."""
    far, by_page = catalogue(stocks()[name])
    some = next(iter(by_page.values()))
    rows = {k: v for page in by_page.values() for k, v in page.body["servers"].items()}  # type: ignore[index,attr-defined]
    if len(rows) < int(some.headers["X-Total-Count"]):
        with pytest.raises(CloudError):
            far.cloud.stock(some.zone)
    else:
        found = far.cloud.stock(some.zone)
        assert found == {name: row["availability"] for name, row in rows.items()}
        assert set(found.values()) <= {"available", "scarce", "shortage"}


def test_recorded_prices_are_exact() -> None:
    """Catalogue prices of 2026-08 become whole micro-credits, and GPUs are counted."""
    pages = catalogues().get("fr-par-2_20260811", [ABSENT])
    require(pages[0])
    offers = {offer.commercial_type: offer for offer in catalogue(pages)[0].cloud.offers(ZONE)}
    h100, sxm = offers["H100-1-80G"], offers["H100-SXM-8-80G"]
    assert (h100.gpus, h100.rate_ucr_per_h) == (1, 2_866_500)
    assert (sxm.gpus, sxm.rate_ucr_per_h) == (8, 25_330_800)
    assert offers["L40S-1-48G"].rate_ucr_per_h == 1_469_916
    assert sxm.scratch_bytes > 12 * 10**12


@pytest.mark.parametrize("path", paths("account"), ids=name_of)
def test_recorded_projects_parse(path: Path) -> None:
    """A recorded list of projects is read whole, sorted by name."""
    recording = read(path)
    if recording.method != "GET" or not urlsplit(recording.url).path.endswith("/projects"):
        return
    assert isinstance(recording.body, dict)
    # Not the one in the URL, which some recordings have masked.
    organization = recording.body["projects"][0]["organization_id"]
    projects = harness(recording.reply(), organization=organization).cloud.projects()
    assert [(project.name, project.id) for project in projects] == sorted(
        (raw["name"], raw["id"]) for raw in recording.body["projects"]
    )


@pytest.mark.parametrize("path", paths("errors"), ids=name_of)
def test_recorded_error_is_typed(path: Path) -> None:
    """Each recorded error is exactly its typed error, read or written, and never an answer."""
    recording = read(path)
    expected = EXCEPTIONS.get(path.stem, EXPECTED[recording.status])
    far = harness(recording.reply())
    with pytest.raises(CloudError) as read_error:
        far.cloud.server(ZONE, server_id(1))
    with pytest.raises(CloudError) as write_error:
        far.cloud.power_off(ZONE, server_id(1))
    assert type(read_error.value) is type(write_error.value) is expected
    assert str(recording.status) in str(read_error.value)


@pytest.mark.parametrize("path", paths("errors"), ids=name_of)
def test_recorded_error_makes_a_zone_unknown(path: Path) -> None:
    """A recorded error in place of a listing is Unknown, never an empty zone."""
    sweep = harness(read(path).reply()).cloud.sweep(ZONE, 7)
    assert isinstance(sweep, Unknown)
