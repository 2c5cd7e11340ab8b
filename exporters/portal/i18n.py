"""Translation and formatting for the portal: sentences, amounts, instants, durations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from decimal import ROUND_FLOOR, Decimal
from importlib.resources import files
from zoneinfo import ZoneInfo

from babel import Locale, negotiate_locale
from babel.dates import format_datetime
from babel.messages.pofile import read_po
from babel.numbers import format_decimal
from babel.units import format_unit
from starlette.requests import Request

from quotas.model.units import DAY_S, HOUR_S, format_credits, parse_instant

LANGUAGES = {"en": "English", "fr": "Français"}
COOKIE = "cohortd_language"
MINUTES = "d MMM yyyy, HH:mm"
_CENT = Decimal("0.01")


def _read_texts(language: str) -> Mapping[str, str]:
    with files("exporters.portal").joinpath("locale", f"{language}.po").open("rb") as file:
        return {str(each.id): str(each.string) for each in read_po(file) if each.id}


FRENCH = _read_texts("fr")
_CATALOGUES: Mapping[str, Mapping[str, str]] = {"en": {}, "fr": FRENCH}


@dataclass(frozen=True, slots=True)
class Translator:
    """One language, and the timezone of the program."""

    code: str
    timezone: str = "UTC"

    def __call__(self, text: str, **values: object) -> str:
        """An English sentence in this language, with its values."""
        translated = _CATALOGUES[self.code].get(text, text)
        return translated.format(**values) if values else translated

    @property
    def others(self) -> dict[str, str]:
        """The other languages, each by its own name."""
        return {code: name for code, name in LANGUAGES.items() if code != self.code}

    def credits(self, amount: str | int) -> str:
        """Credits to the cent, rounded down, so that a page never shows more than there is."""
        exact = Decimal(format_credits(amount) if isinstance(amount, int) else amount)
        cents = exact.quantize(_CENT, ROUND_FLOOR)
        return format_decimal(cents, format="#,##0.00", locale=self._locale)

    def whole_credits(self, amount_ucr: int) -> str:
        """Credits without decimals, for a scale."""
        return format_decimal(amount_ucr // 1_000_000, locale=self._locale)

    def instant(self, at: str | int) -> str:
        """An instant in the program's timezone."""
        return self._format_instant(at, ZoneInfo(self.timezone))

    def instant_with_utc(self, at: str | int) -> str:
        """An instant in the program's timezone, and in UTC."""
        if self.timezone == "UTC":
            return f"{self.instant(at)} UTC"
        return f"{self.instant(at)} {self.timezone} ({self._format_instant(at, UTC)} UTC)"

    def day(self, at: str | int) -> str:
        """The local day of an instant."""
        return self._format_instant(at, ZoneInfo(self.timezone), "d MMMM yyyy")

    def month(self, name: str) -> str:
        """A month such as 2027-01."""
        start = datetime.fromisoformat(f"{name}-01").replace(tzinfo=UTC)
        return self._format_moment(start, "LLLL yyyy")

    def month_tick(self, at_s: int) -> str:
        """A month on a scale."""
        return self._format_instant(at_s, ZoneInfo(self.timezone), "LLL")

    def duration(self, seconds: int) -> str:
        """A duration in its two largest units, rounded down."""
        days, hours, minutes = seconds // DAY_S, seconds % DAY_S // HOUR_S, seconds % HOUR_S // 60
        units = [(days, "day"), (hours, "hour"), (minutes, "minute")]
        first = next((i for i, (count, _) in enumerate(units) if count), 2)
        largest_units = [(n, unit) for n, unit in units[first : first + 2] if n] or [(0, "minute")]
        translated = [
            format_unit(n, f"duration-{unit}", locale=self._locale) for n, unit in largest_units
        ]
        return " ".join(translated)

    @property
    def _locale(self) -> Locale:
        return Locale("en", "GB") if self.code == "en" else Locale(self.code)

    def _format_instant(self, at: str | int, zone: tzinfo, pattern: str = MINUTES) -> str:
        at_s = at if isinstance(at, int) else parse_instant(at)
        return self._format_moment(datetime.fromtimestamp(at_s, zone), pattern)

    def _format_moment(self, moment: datetime, pattern: str) -> str:
        return format_datetime(moment, pattern, tzinfo=moment.tzinfo, locale=self._locale)


def language(request: Request) -> str:
    """The language that a link or a cookie chose, or else the browser's preference."""
    for chosen in (request.query_params.get("lang"), request.cookies.get(COOKIE)):
        if chosen in LANGUAGES:
            return chosen
    ranges = request.headers.get("accept-language", "").split(",")[:20]
    # Language tags ignore case, and negotiate_locale answers a tag as it was written.
    wanted = [each.partition(";")[0].strip().lower() for each in sorted(ranges, key=_rank)]
    return negotiate_locale(wanted, list(LANGUAGES), sep="-") or "en"


def _rank(language_range: str) -> Decimal:
    """The accepted tags, best first; a tag without a quality has quality 1."""
    _, _, quality = language_range.partition(";q=")
    text = quality.strip()
    return -Decimal(text) if text.replace(".", "", 1).isdecimal() else Decimal(-1)
