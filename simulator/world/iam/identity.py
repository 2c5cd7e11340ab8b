"""Ids and keys, drawn from the seed, so that a world is the same each time."""

from __future__ import annotations

import random
import string
import uuid

from simulator.world.model import Project

_KEY_LETTERS = string.ascii_uppercase + string.digits


def new_uuid(rng: random.Random) -> str:
    """A random UUID from a seeded stream."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def new_access_key(rng: random.Random) -> str:
    """An access key as Scaleway writes them: SCW and 17 capitals or digits."""
    return "SCW" + "".join(rng.choices(_KEY_LETTERS, k=17))


def new_project(seed: int, name: str, created_s: int) -> Project:
    """A startup's project; its ids depend on the seed and its name only."""
    rng = random.Random(f"{seed}/project/{name}")
    return Project(new_uuid(rng), name, new_access_key(rng), new_uuid(rng), created_s)
