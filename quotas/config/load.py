"""Reads the text of a program file into a Program, or refuses it in one sentence."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime, time
from functools import partial
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from quotas.config.schema import CohortTable, FileTable, GrantTable, RolloverTable, StartupTable
from quotas.config.validate import Fault, Key, faults
from quotas.ledger.tranches import monthly
from quotas.model.program import (
    Cohort,
    Grant,
    Pool,
    Program,
    ProgramError,
    Rollover,
    Startup,
    Tenure,
    Tranche,
)

Default = TypeVar("Default", int, None)
ALWAYS_S = 0
"""The start of a pool's capacity if the file gives no date."""

_TWICE = re.compile(r"Cannot declare \((.+)\) twice (\(at .+\))")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST_VALUE = 80

_PROBLEMS = {
    "missing": "is missing; add it",
    "int_type": "is not a whole number; write digits without quotes or a decimal point",
    "string_type": "is not a string; write it in quotes",
    "list_type": "is not a list; write it in square brackets",
    "dict_type": "is not a table; write [{path}] and its keys below it",
    "bool_type": "is not true or false; write one of the two without quotes",
    "model_type": "is not a table; write its keys in a table",
    "literal_error": "is not a known value; write {expected}",
    "enum": "is not a known value; write {expected}",
    "greater_than_equal": "is too small; write {ge} or more",
    "less_than_equal": "is too large; write {le} or less",
    "too_short": "is empty; list at least one",
    "unknown_key": "is not a known key; {hint}",
    "value_error": "{error}",
}


def parse_program(text: str, file: str) -> Program:
    """Read a program file. Raises ProgramError: one sentence with file, key, value and fix."""
    document = _toml(text, file)
    try:
        table = FileTable.model_validate(document)
    except ValidationError as error:
        fault = _shape_fault(error.errors(include_url=False)[0])
        raise _refusal(file, document, fault) from None
    _one_way_to_name_projects(table, file, document)
    program = _program(table)
    for fault in faults(program):
        raise _refusal(file, document, fault)
    return program


def _toml(text: str, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        reason = str(error)
    twice = _TWICE.search(reason)
    if twice:
        path = ".".join(re.findall(r"'([^']*)'", twice[1]))
        raise ProgramError(
            f"{file}: {path} is declared twice {twice[2]}; rename one of the two or remove it."
        )
    raise ProgramError(f"{file}: the file is not valid TOML: {reason}; correct it there.")


def _shape_fault(error: ErrorDetails) -> Fault:
    """Pydantic's first error as a key and a problem in our words."""
    context = error.get("ctx", {})
    key: Key = tuple(part for part in error["loc"] if part != "[key]")
    if error["type"] == "unknown_key":
        key = (*key, context["key"])
    problem = _PROBLEMS.get(error["type"], f"is not valid: {error['msg']}; correct it")
    return key, problem.format(path=_path(key), **context)


def _refusal(file: str, document: Mapping[str, Any], fault: Fault) -> ProgramError:
    key, problem = fault
    key = _as_written(document, key)
    value = _value(document, key)
    stop = "?" if problem.endswith("?") else "."
    return ProgramError(f"{file}: {_path(key)}{value} {problem}".rstrip(".?") + stop)


def _as_written(document: Mapping[str, Any], key: Key) -> Key:
    """The key as the file has it: the rules say `projects`, the file may say `project_id`."""
    if len(key) > 4 and key[4] == "projects":
        startup = document["cohort"][key[1]]["startup"][key[3]]
        if "project_id" in startup:
            return (*key[:4], "project_id")
    return key


def _path(key: Key) -> str:
    """cohort.spring.startup.acme.grants[0].credits."""
    text = ""
    for part in key:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            shown = part if _BARE_KEY.fullmatch(part) else json.dumps(part)
            text += f".{shown}" if text else shown
    return text


def _value(document: Any, key: Key) -> str:
    """ " = value" as the file has it; empty for a table or a missing key."""
    for part in key:
        try:
            document = document[part]
        except (KeyError, IndexError, TypeError):
            return ""
    if isinstance(document, dict):
        return ""
    shown = (
        str(document) if isinstance(document, date | time) else json.dumps(document, default=str)
    )
    return f" = {shown[:_LONGEST_VALUE]}"


def _one_way_to_name_projects(table: FileTable, file: str, document: dict[str, Any]) -> None:
    for name, cohort in table.cohort.items():
        for startup, body in cohort.startup.items():
            if bool(body.project_id) == bool(body.projects):
                key = ("cohort", name, "startup", startup, "project_id")
                both = "and projects are both set; keep one of the two"
                neither = "is missing; add the UUID of its Scaleway Project"
                fault = key, both if body.project_id else neither
                raise _refusal(file, document, fault)


def _program(table: FileTable) -> Program:
    head = table.program
    zone = ZoneInfo(head.timezone)
    pools = tuple(
        Pool(
            name=name,
            capacity=tuple((_instant(s.from_, zone, ALWAYS_S), s.gpus) for s in pool.gpus),
            backing=pool.backing,
            flavors=tuple(pool.flavors),
        )
        for name, pool in table.pool.items()
    )
    return Program(
        name=head.name,
        budget_ucr=head.budget,
        timezone=head.timezone,
        mode=head.mode,
        prices=head.prices,
        zones=tuple(head.zones),
        operators=tuple(head.operators),
        pools=pools,
        cohorts=tuple(_cohort(n, cohort, pools, zone) for n, cohort in table.cohort.items()),
        policy=table.policy,
    )


def _cohort(name: str, table: CohortTable, pools: tuple[Pool, ...], zone: ZoneInfo) -> Cohort:
    empty = Cohort(name, _instant(table.starts, zone, 0), _instant(table.ends, zone, 0))
    startups = (_startup(n, body, empty, pools, zone) for n, body in table.startup.items())
    return replace(empty, startups=tuple(startups))


def _startup(
    name: str, table: StartupTable, cohort: Cohort, pools: tuple[Pool, ...], zone: ZoneInfo
) -> Startup:
    all_flavors = {pool.name: pool.flavors for pool in pools}
    return Startup(
        name=name,
        cohort=cohort.name,
        projects=_tenures(table, cohort, zone),
        weight=table.weight,
        nominal=table.nominal,
        borrowing_limit=table.borrowing_limit,
        lending_limit=table.lending_limit,
        limit=table.limit,
        flavors=all_flavors | {pool: tuple(own) for pool, own in table.flavors.items()},
        contacts=tuple(table.contacts),
        grants=tuple(_grant(grant, cohort, zone) for grant in table.grants),
        auto_resume=table.auto_resume,
    )


def _tenures(table: StartupTable, cohort: Cohort, zone: ZoneInfo) -> tuple[Tenure, ...]:
    if table.project_id:
        return (Tenure(table.project_id, cohort.starts_s),)
    return tuple(
        Tenure(p.id, _instant(p.from_, zone, cohort.starts_s), _instant(p.until, zone, None))
        for p in table.projects
    )


def _grant(table: GrantTable, cohort: Cohort, zone: ZoneInfo) -> Grant:
    dated = [_instant(each.at, zone, 0) for each in table.tranches if each.at is not None]
    effective_s = _instant(table.effective, zone, min(dated, default=cohort.starts_s))
    expires_s = _instant(table.expires, zone, cohort.ends_s)
    return Grant(
        id=table.id,
        amount_ucr=table.credits,
        effective_s=effective_s,
        expires_s=expires_s,
        category=table.category,
        priority=table.priority,
        tranches=_tranches(table, effective_s, expires_s, zone),
        rollover=None if table.rollover is None else _rollover(table.rollover),
    )


def _rollover(table: RolloverTable) -> Rollover:
    return Rollover(1_000_000 if table.share is None else table.share, table.credits)


def _tranches(
    table: GrantTable, effective_s: int, expires_s: int, zone: ZoneInfo
) -> tuple[Tranche, ...]:
    if any(each.at is None and each.milestone is None for each in table.tranches):
        return monthly(table.credits, effective_s, expires_s, zone)
    instant = partial(_instant, zone=zone, default_s=None)
    return tuple(
        Tranche(each.credits, instant(each.at), each.milestone or "", instant(each.by))
        for each in table.tranches
    )


def _instant(moment: date | None, zone: ZoneInfo, default_s: Default) -> int | Default:
    """The instant of a date is its local midnight; if DST skips it, the instant of the change."""
    if moment is None:
        return default_s
    if isinstance(moment, datetime):
        return int(moment.timestamp())
    return int(datetime.combine(moment, time(), zone).timestamp())
