"""The first program file: whatever names the cloud has, they set nothing in the file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotas.config.load import parse_program
from quotas.model.observation import Complete, Offer, Server, Sweep
from scheduler.checks.first_file import first_program_file, startup_name
from scheduler.clouds.base import Malformed, Project
from scheduler.cycle import Cloud
from tests.builders import a_server

T0 = 1_800_000_000
ZONE = "fr-par-2"
OFFER = Offer(ZONE, "H100-1-80G", 1, 2_900_000, 0)
SERVER = replace(a_server(zone=ZONE), commercial_type=OFFER.commercial_type)


@dataclass
class NamedCloud:
    """A cloud with these projects, and servers in the first of them."""

    names: tuple[str, ...] = ("Acme",)
    servers: tuple[Server, ...] = ()
    flavor: str = OFFER.commercial_type

    def projects(self) -> tuple[Project, ...]:
        """Projects with these names."""
        return tuple(Project(str(UUID(int=n + 1)), name) for n, name in enumerate(self.names))

    def offers(self, zone: str) -> tuple[Offer, ...]:
        """One flavor in one zone."""
        return (replace(OFFER, commercial_type=self.flavor),) if zone == ZONE else ()

    def sweep(self, zone: str, at_s: int) -> Sweep:
        """The servers, in that zone."""
        owned = [replace(each, project_id=self.projects()[0].id) for each in self.servers]
        return Complete(zone, at_s, tuple(owned) if zone == ZONE else ())


def first_file(cloud: NamedCloud) -> str:
    """The first file of this cloud."""
    read: Cloud = cloud  # type: ignore[assignment]  # init only reads
    return first_program_file(read, T0)


@pytest.mark.parametrize("field", ["name", "state"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\u2028", "\x85", "\x00", "\x1b[2J", "\u202e"])
def test_a_servers_name_is_one_line_of_a_comment(field: str, end: str) -> None:
    """A line break in a server's name would begin a key of its startup's table."""
    server = replace(SERVER, **{field: f"web{end}weight = 9{end}#"})
    text = first_file(NamedCloud(servers=(server,)))
    (startup,) = parse_program(text, "first.toml").startups()
    assert startup.weight == 1
    (line,) = [line for line in text.splitlines() if "weight" in line]
    assert line.startswith("# ") and line.isprintable()


@given(st.lists(st.text(max_size=70), max_size=40).map(tuple), st.text(max_size=70))
def test_any_names_make_a_program_in_which_each_project_is_a_startup(
    names: tuple[str, ...], server_name: str
) -> None:
    """The file is valid, and its grants fit into its budget, however many projects there are."""
    servers = (replace(SERVER, name=server_name),) if names else ()
    cloud = NamedCloud(names, servers)
    program = parse_program(first_file(cloud), "first.toml")
    owned = [each.projects[0].project_id for each in program.startups()]
    assert sorted(owned) == [each.id for each in cloud.projects()]
    assert all(each.weight == 1 and not each.contacts for each in program.startups())


def test_a_long_name_stays_short_however_many_projects_have_it() -> None:
    """Equal names are numbered, within the longest name that a file may have."""
    taken: set[str] = set()
    names = [startup_name("x" * 90, taken) for _ in range(40)]
    assert len(set(names)) == 40 and max(map(len, names)) < 60
    assert names[:3] == ["x" * 50, f"{'x' * 50}-2", f"{'x' * 50}-3"]


def test_a_flavor_that_no_file_can_hold_is_refused_in_one_sentence() -> None:
    """Nothing is written that 'cohortd plan' would refuse."""
    flavor = 'H100"]\nbacking = "reserved'
    with pytest.raises(Malformed) as refusal:
        first_file(NamedCloud(servers=(replace(SERVER, commercial_type=flavor),), flavor=flavor))
    assert "\n" not in str(refusal.value) and "is not a flavor" in str(refusal.value)
