"""The keys of a program file and their types. `validate` has the rules between two values."""

from __future__ import annotations

import difflib
import re
import zoneinfo
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from operator import attrgetter, gt, lt
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetPydanticSchema,
    PlainValidator,
    create_model,
    model_validator,
)
from pydantic_core import PydanticCustomError

from quotas.model.program import DEFAULT_ZONES, Backing, Curve, Mode, PaceAction, Policy, Prices
from quotas.model.units import (
    DAY_S,
    HOUR_S,
    format_credits,
    format_duration,
    format_of_day,
    parse_credits,
    parse_duration,
)

MOST_GPUS = 10_000_000
MOST = 1_000_000
MOST_TRANCHES = 1_000
LONGEST_S = 366 * DAY_S
YEARS = range(2000, 2200)
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_ZONE = re.compile(r"[a-z]{2}-[a-z]{3}-[0-9]")
_FLAVOR = re.compile(r"[A-Z0-9][A-Za-z0-9-]{0,62}@[a-z]{2}-[a-z]{3}-[0-9]")
_PROJECT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CONTACT = re.compile(r"[a-z][a-z0-9+.-]*:[^\s\x00-\x1f\x7f-\x9f]{1,500}")
_PART = re.compile(r"0\.[0-9]{1,6}")
_QUIET = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])")
_PLAIN_DECIMAL = re.compile(r"[0-9]+(\.[0-9]{1,6})?")


def _matching(pattern: re.Pattern[str], problem: str) -> AfterValidator:
    def match(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(problem)
        return text

    return AfterValidator(match)


def _amount(value: object) -> int:
    if not isinstance(value, str):
        raise ValueError('is not a string; write credits in quotes, such as "60000"')
    try:
        amount_ucr = parse_credits(value)
    except ValueError as error:
        problem = str(error).removeprefix(repr(value)).strip()
        raise ValueError(f'{problem}; write it such as "60000" or "12.5"') from None
    if amount_ucr < 0:
        raise ValueError("is negative; write an amount above zero")
    if amount_ucr == 0:
        raise ValueError("is zero; write an amount above zero, or remove it")
    if not _PLAIN_DECIMAL.fullmatch(value):  # refuses 1e3, and more digits than a Decimal keeps
        raise ValueError("is not a plain decimal with at most six decimals; write it such as 12.5")
    return amount_ucr


def _duration(value: object) -> int:
    if not isinstance(value, str):
        raise ValueError('is not a duration; write it in quotes, such as "30m"')
    try:
        seconds = parse_duration(value)
    except ValueError:
        raise ValueError("is not a duration; write it such as 90s, 30m, 1h30m or 7d") from None
    if not 0 < seconds <= LONGEST_S:
        raise ValueError("is out of range; write more than 0s and at most 366d")
    return seconds


def _pause(value: object) -> int:
    return 0 if value == "0s" else _duration(value)


def _quiet_hours(value: object) -> tuple[int, ...]:
    found = _QUIET.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError('is not a pair of local times; write it such as "22:00-08:00"')
    from_h, from_m, until_h, until_m = map(int, found.groups())
    from_s, until_s = from_h * HOUR_S + from_m * 60, until_h * HOUR_S + until_m * 60
    if from_s == until_s:
        raise ValueError("ends when it begins; write two different times, or remove it")
    return from_s, until_s


def _moment(value: object) -> date:
    if not isinstance(value, date):
        raise ValueError("is not a date; write it without quotes, such as 2027-01-05")
    if value.year not in YEARS:
        raise ValueError(f"is out of range; write a year from {YEARS[0]} to {YEARS[-1]}")
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("has no zone; write a date alone, or add Z or an offset like +01:00")
        if value.microsecond:
            raise ValueError("is finer than a second; remove the fraction")
    return value


def _known_timezone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        known = sorted(zoneinfo.available_timezones())
        if not known:
            problem = "cannot be loaded, because this host has no timezones; install"
            raise ValueError(f"{problem} the package tzdata") from None
        near = difflib.get_close_matches(name, known, n=1)
        example = near[0] if near else "Europe/Paris"
        raise ValueError(f"is not a known timezone; write a timezone such as {example}") from None
    return name


def _tranches(value: object) -> object:
    """A list of tranches, also for "none" and "monthly"."""
    if value in ("none", "monthly"):
        return [TrancheTable.model_construct()] if value == "monthly" else []
    if not isinstance(value, list) or not value or not all(isinstance(v, dict) for v in value):
        raise ValueError('is not a known value; write "none", "monthly" or a list of tranches')
    kinds = {"milestone" if "milestone" in each else "at" for each in value}
    if any(("at" in each) == ("milestone" in each) for each in value) or len(kinds) > 1:
        raise ValueError("mixes two kinds; give every tranche an at, or every one a milestone")
    if len(value) > MOST_TRANCHES:
        raise ValueError(f"is too long; write at most {MOST_TRANCHES} tranches")
    return value


def _rollover(value: object) -> object:
    if value == "all":
        return None
    if value == "none":
        return RolloverTable.model_construct(share=0, credits=None)
    if not isinstance(value, dict) or len(value) != 1:
        text = 'write "all", "none", { share = "0.5" } or { credits = "1000" }'
        raise ValueError(f"is not a known value; {text}")
    return value


def _share(value: object) -> int:
    """A part of the rest, in millionths."""
    if not isinstance(value, str) or not _PART.fullmatch(value) or not value.strip("0."):
        raise ValueError('is not a part above 0 and below 1; write it in quotes, such as "0.5"')
    return int(value.removeprefix("0.").ljust(6, "0"))


def _steps(value: object) -> object:
    if isinstance(value, list):
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("is not a whole number of GPUs; write one such as 40, or a list of steps")
    if not 0 <= value <= MOST_GPUS:
        raise ValueError(f"is out of range; write 0 to {MOST_GPUS} GPUs")
    return [StepTable.model_construct(from_=None, gpus=value)]


Name = Annotated[
    str,
    _matching(_NAME, "is not a valid name; write 1 to 63 of a-z, 0-9 and -, and no - at the start"),
]
Zone = Annotated[str, _matching(_ZONE, "is not a zone; write a zone such as fr-par-2")]
Flavor = Annotated[
    str, _matching(_FLAVOR, "is not a flavor; write TYPE@zone, such as H100-1-80G@fr-par-2")
]
ProjectId = Annotated[
    str, _matching(_PROJECT, "is not a project id; copy the lower-case UUID from the console")
]
Contact = Annotated[
    str, _matching(_CONTACT, "is not a contact; write a URL such as mailto://cto@example.com")
]
QuietHours = Annotated[tuple[int, ...], PlainValidator(_quiet_hours)]
Amount = Annotated[int, BeforeValidator(_amount)]
Seconds = Annotated[int, BeforeValidator(_duration)]
Pause = Annotated[int, BeforeValidator(_pause)]
Moment = Annotated[date, PlainValidator(_moment)]
_TEXT_OF_ENUM = Field(strict=False)
Gpus = Annotated[int, Field(ge=0, le=MOST_GPUS)]
Quotas = dict[Name, Gpus]


class _Table(BaseModel):
    """A table that refuses an unknown key, and suggests the nearest known one."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _no_unknown_key(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known = [field.alias or name for name, field in cls.model_fields.items()]
        for key in data:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
                raise PydanticCustomError("unknown_key", "unknown", {"key": key, "hint": hint})
        return data


class StepTable(_Table):
    """`{ from = 2027-03-01, gpus = 48 }`: a pool's capacity from an instant."""

    from_: Moment | None = Field(alias="from")
    gpus: Gpus


class PoolTable(_Table):
    """`[pool.NAME]`."""

    gpus: Annotated[list[StepTable], BeforeValidator(_steps), Field(min_length=1)]
    backing: Backing = "on-demand"
    flavors: list[Flavor] = Field(min_length=1)


class ProjectTable(_Table):
    """`{ id = "uuid", from = 2027-03-01, until = 2027-04-01 }`."""

    id: ProjectId
    from_: Moment | None = Field(default=None, alias="from")
    until: Moment | None = None


class TrancheTable(_Table):
    """`{ at = 2027-02-01, credits = "10000" }`, or a milestone; without both it is "monthly"."""

    credits: Amount
    at: Moment | None = None
    milestone: Name | None = None
    by: Moment | None = None


class RolloverTable(_Table):
    """`{ share = "0.5" }` or `{ credits = "1000" }`."""

    share: Annotated[int, BeforeValidator(_share)] | None = None
    credits: Amount | None = None


class GrantTable(_Table):
    """`{ id = "acme-1", credits = "60000" }`."""

    id: Name
    credits: Amount
    category: Literal["sponsor", "promotional", "paid", "bonus"] = "sponsor"
    priority: int = Field(default=0, ge=0, le=MOST)
    effective: Moment | None = None
    expires: Moment | None = None
    tranches: Annotated[list[TrancheTable], BeforeValidator(_tranches)] = []
    rollover: Annotated[RolloverTable | None, BeforeValidator(_rollover)] = None


class StartupTable(_Table):
    """`[cohort.NAME.startup.NAME]`."""

    project_id: ProjectId | None = None
    projects: list[ProjectTable] = []
    weight: int = Field(default=1, ge=0, le=MOST)
    nominal: Quotas = {}
    borrowing_limit: Quotas = {}
    lending_limit: Quotas = {}
    limit: Quotas = {}
    flavors: dict[Name, list[Flavor]] = {}
    contacts: list[Contact] = []
    grants: list[GrantTable] = []
    auto_resume: bool = False


class CohortTable(_Table):
    """`[cohort.NAME]`."""

    starts: Moment
    ends: Moment
    startup: dict[Name, StartupTable] = {}


def _part_ppm(value: object) -> int:
    if not isinstance(value, str) or not re.fullmatch(r"0(\.[0-9]{1,6})?|1(\.0{1,6})?", value):
        raise ValueError('is not a part from "0" to "1"; write it in quotes, such as "0.5"')
    return parse_credits(value)


def _each(show: Callable[[int], str], between: str) -> Callable[[Iterable[int]], str]:
    return lambda values: between.join(map(show, values))


def _drops(before: Iterable[int], after: Iterable[int]) -> bool:
    return bool(set(before) - set(after))


@dataclass(frozen=True, slots=True)
class PolicyKey:
    """A key below `[policy]`, the field of `Policy` that it sets, and how a plan shows it.

    `takes_away` compares the values before and after. If it holds, the change needs a
    confirmation because of `why`.
    """

    path: str
    field: str
    type: Any
    show: Callable[[Any], str]
    takes_away: Callable[[Any, Any], bool] = lambda _before, _after: False
    why: str = ""


_Part = Annotated[int, BeforeValidator(_part_ppm)]
_Notices = Annotated[list[Seconds], AfterValidator(tuple)]
_EndNotices = Annotated[list[Seconds], Field(min_length=1), AfterValidator(tuple)]
_durations = _each(format_duration, ", ")

POLICY_KEYS = (
    PolicyKey("notice.minimum", "minimum_notice_s", Seconds, format_duration,
              gt, "servers are stopped with less notice"),
    PolicyKey("notice.exhaustion", "exhaustion_notices_s", _Notices, _durations,
              _drops, "an announcement of exhaustion is dropped"),
    PolicyKey("notice.end", "end_notices_s", _EndNotices, _durations,
              _drops, "an announcement of the cohort's end is dropped"),
    PolicyKey("notice.quiet_hours", "quiet_hours_s", QuietHours, _each(format_of_day, "-")),
    PolicyKey("notice.snooze_max", "snooze_max_s", Pause, format_duration),
    PolicyKey("notice.chain_heads", "mails_chain_heads", bool, lambda on: str(on).lower(),
              gt, "operators no longer get the daily chain heads"),
    PolicyKey("stop.latency", "stop_latency_s", Seconds, format_duration,
              gt, "the reserve for the time of a stop is smaller"),
    PolicyKey("pacing.curve", "pacing_curve", Annotated[Curve, _TEXT_OF_ENUM], str),
    PolicyKey("pacing.action", "pacing_action", Annotated[PaceAction, _TEXT_OF_ENUM], str),
    PolicyKey("pacing.daily_burn", "daily_burn_ucr", Amount | None,
              lambda amount_ucr: "none" if amount_ucr is None else format_credits(amount_ucr)),
    PolicyKey("disruption_budget.part", "disruption_budget_ppm", _Part, format_credits,
              lt, "more GPUs may be stopped unexpectedly within an hour"),
    PolicyKey("standby.stop_after", "standby_stop_after_s", Seconds, format_duration,
              gt, "servers stopped in place are powered off earlier"),
    PolicyKey("reclaim.minimum_runtime", "minimum_runtime_s", Seconds, format_duration,
              gt, "borrowed GPUs are reclaimed earlier"),
    PolicyKey("self_advance", "self_advance_ppm", _Part, format_credits,
              gt, "startups may take less of their next tranche ahead"),
)  # fmt: skip


def _policy_table() -> type[_Table]:
    """The table of `[policy]`, with a table for each first part of a path."""
    own: dict[str, Any] = {}
    for key in POLICY_KEYS:
        section, _, name = key.path.rpartition(".")
        fields = own.setdefault(section, {}) if section else own
        fields[name] = (key.type, getattr(Policy(), key.field))
    for section, fields in own.items():
        if isinstance(fields, dict):
            table = create_model(section, __base__=_Table, **fields)
            own[section] = (table, table())
    return create_model("policy", __base__=_Table, **own)


PolicyTable = _policy_table()


def _policy(table: _Table) -> Policy:
    return Policy(**{key.field: attrgetter(key.path)(table) for key in POLICY_KEYS})


class ProgramTable(_Table):
    """`[program]`."""

    name: Name
    timezone: Annotated[str, AfterValidator(_known_timezone)] = "UTC"
    mode: Annotated[Mode, _TEXT_OF_ENUM] = Mode.SHADOW
    budget: Amount
    prices: Prices = "fixed"
    zones: list[Zone] = Field(default=list(DEFAULT_ZONES), min_length=1)
    operators: list[Contact] = []


class FileTable(_Table):
    """The whole file."""

    program: ProgramTable
    pool: dict[Name, PoolTable] = {}
    cohort: dict[Name, CohortTable] = {}
    policy: Annotated[
        Policy, GetPydanticSchema(lambda _, schema: schema(PolicyTable)), AfterValidator(_policy)
    ] = Policy()
