"""Numbers, money and time as people read them. Display only: nothing here may be parsed back.

Grouping and decimal marks come from the language, the minus sign is U+2212, None is an em dash. Decimals are formatted exactly, whatever
their length; a quantity is cut, never rounded up, so that a page never shows more than is held.
"""

from datetime import datetime, timedelta
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Context, Decimal
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel.core import Locale
from babel.dates import format_datetime, format_timedelta
from babel.units import format_unit

from app.core.i18n import pgettext, use_language

NONE = "—"
MINUS = "−"
NO_BREAK_SPACE = "\u00a0"
_WIDE = Context(prec=80)
#: The same in both languages; what differs is the names of months.
_PATTERNS = {
    "datetime": "d MMM yyyy HH:mm:ss",
    "stamp": "d MMM yyyy HH:mm",
    "minute": "d MMM HH:mm",
    "time": "HH:mm:ss",
    "date": "d MMM yyyy",
    "month": "MMM yyyy",
}
#: Digits shown for an asset whose step is unknown.
_FREE_PLACES = 8
#: Between these percentages a share is cut: what is not quite all of it is not shown as all.
_NEARLY_ALL, _ALL = Decimal(99), Decimal(100)


@cache
def _marks(language: str) -> tuple[str, str]:
    symbols = Locale.parse(language).number_symbols["latn"]
    return symbols["group"], symbols["decimal"]


def places(step: Decimal) -> int:
    """Return how many decimals a multiple of `step` needs: 0.010 → 2, 5 → 0."""
    exponent = step.normalize(_WIDE).as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def number(value: Decimal, decimals: int, *, language: str, rounding: str = ROUND_HALF_EVEN) -> str:
    """Return `value` with exactly `decimals` digits after the mark; a value that becomes zero loses its sign."""
    rounded = value.quantize(Decimal(1).scaleb(-decimals), rounding=rounding, context=_WIDE)
    group, decimal = _marks(language)
    text = f"{abs(rounded):,f}".replace(",", "\0").replace(".", decimal).replace("\0", group)
    return MINUS + text if rounded < 0 else text


def price(value: Decimal | None, tick: Decimal | None = None, *, language: str) -> str:
    """Return a price with the instrument's decimals; without a tick, with the digits it came with."""
    if value is None:
        return NONE
    return number(value, places(tick) if tick is not None else places(value), language=language)


def quantity(value: Decimal | None, step: Decimal | None = None, *, language: str) -> str:
    """Return a quantity cut to the instrument's step; without a step, up to eight decimals, trailing zeros gone."""
    if value is None:
        return NONE
    decimals = places(step) if step is not None else min(_FREE_PLACES, places(value))
    return number(value, decimals, language=language, rounding=ROUND_DOWN)


def money(value: Decimal | None, currency: str = "", *, decimals: int = 2, language: str) -> str:
    """Return an amount with its currency after it. Never a currency pattern of the locale: those lose digits of crypto."""
    if value is None:
        return NONE
    text = number(value, decimals, language=language)
    return f"{text}{NO_BREAK_SPACE}{currency}" if currency else text


def compact(value: Decimal | None, *, language: str) -> str:
    """Return a large number with two decimals and a unit: 2840000000 → 2.84B in English, 2,84 Md in French."""
    if value is None:
        return NONE
    # Babel's own compact format compiles a plural rule for each number.
    with use_language(language):
        units = ((12, pgettext("number", "T")), (9, pgettext("number", "B")), (6, pgettext("number", "M")), (3, pgettext("number", "K")))
    exponent, unit = next((row for row in units if abs(value) >= Decimal(1).scaleb(row[0])), (0, ""))
    gap = NO_BREAK_SPACE if unit and language == "fr" else ""
    return f"{number(value.scaleb(-exponent, context=_WIDE), 2, language=language)}{gap}{unit}"


def short(value: Decimal | None, *, language: str) -> str:
    """Return an amount with its sign in very few characters, for the cells of a map: +1.2K, −34, +0.4, +0.0003."""
    if value is None:
        return NONE
    size = abs(value)
    if size >= 1000:
        with use_language(language):
            units = (
                (12, pgettext("number", "T")),
                (9, pgettext("number", "B")),
                (6, pgettext("number", "M")),
                (3, pgettext("number", "K")),
            )
        exponent, unit = next(row for row in units if size >= Decimal(1).scaleb(row[0]))
        scaled = size.scaleb(-exponent, context=_WIDE)
        text = number(scaled, 0 if scaled >= 10 else 1, language=language) + unit
    elif size >= 10 or not size:
        text = number(size, 0, language=language)
    else:
        text = number(size, min(_FREE_PLACES, max(1, -size.adjusted())), language=language)
    sign = "" if not any(digit in text for digit in "123456789") else MINUS if value < 0 else "+"
    return f"{sign}{text}"


def signed(value: Decimal | None, currency: str = "", *, decimals: int = 2, language: str) -> str:
    """Return an amount with + or −; zero has neither."""
    if value is None:
        return NONE
    text = money(value, currency, decimals=decimals, language=language)
    return f"+{text}" if value > 0 and not _is_zero(value, decimals) else text


def pct(fraction: Decimal | None, *, decimals: int = 2, language: str) -> str:
    """Return a fraction as a signed percentage: 0.0174 → +1.74% in English, +1,74 % with U+00A0 in French."""
    if fraction is None:
        return NONE
    percent = fraction.scaleb(2, context=_WIDE)
    text = number(percent, decimals, language=language)
    sign = "+" if percent > 0 and not _is_zero(percent, decimals) else ""
    return f"{sign}{text}{NO_BREAK_SPACE if language == 'fr' else ''}%"


def share(fraction: Decimal | None, *, decimals: int = 2, language: str) -> str:
    """Return a part as a percentage without a sign, of so many decimals at most: 0.5 → 50%, 0.66667 → 66.67%, 0.99999 → 99.99%."""
    if fraction is None:
        return NONE
    percent = fraction.scaleb(2, context=_WIDE)
    rounding = ROUND_DOWN if _NEARLY_ALL < percent < _ALL else ROUND_HALF_EVEN
    percent = percent.quantize(Decimal(1).scaleb(-decimals), rounding=rounding, context=_WIDE)
    return f"{number(percent, places(percent), language=language)}{NO_BREAK_SPACE if language == 'fr' else ''}%"


def _is_zero(value: Decimal, decimals: int) -> bool:
    return not value.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_EVEN, context=_WIDE)


def dt(moment: datetime | None, style: str = "datetime", *, zone: str, language: str) -> str:
    """Return a moment in `zone`. Styles: datetime (with seconds), stamp (without), minute, time, date, month.

    Raises:
        ValueError: `moment` is naive.
    """
    if moment is None:
        return NONE
    if moment.tzinfo is None:
        raise ValueError(f"a displayed time must be aware, was {moment!r}")
    return format_datetime(moment.astimezone(timezone(zone)), _PATTERNS[style], locale=language)


@cache
def timezone(name: str) -> ZoneInfo:
    """Return the zone called `name`, or UTC when nothing is known by that name (the name may come from a cookie)."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


def ago(moment: datetime | None, *, now: datetime, language: str) -> str:
    """Return how long before `now` something happened, in one rounded unit: 3 min ago, il y a 3 min."""
    if moment is None:
        return NONE
    # Zero or less would read as the future: "in 0 sec.".
    elapsed = min(moment - now, timedelta(seconds=-1))
    return format_timedelta(elapsed, granularity="second", threshold=1.2, add_direction=True, format="short", locale=language)


def seconds(duration_s: float | None, *, language: str) -> str:
    """Return a short duration: 0.4 s, 38 s, 12 min, 3 h."""
    if duration_s is None:
        return NONE
    if duration_s < 60:
        decimals = 1 if duration_s < 10 else 0
        return f"{number(Decimal(str(duration_s)), decimals, language=language)}{NO_BREAK_SPACE}s"
    minutes = int(duration_s // 60)
    return f"{minutes}{NO_BREAK_SPACE}min" if minutes < 60 else f"{minutes // 60}{NO_BREAK_SPACE}h"


def took(duration_s: float | None, *, language: str) -> str:
    """Return how long a short thing took: 12 ms, 1.4 s."""
    if duration_s is not None and duration_s < 1:
        return f"{max(1, round(duration_s * 1000))}{NO_BREAK_SPACE}ms"
    return seconds(duration_s, language=language)


def days(count: int, *, language: str) -> str:
    """Return a number of days: 12 days, 12 j."""
    return format_unit(count, "duration-day", length="short", locale=language)


def span(duration_s: Decimal | float | None, *, language: str) -> str:
    """Return a time that may be long, in its largest fitting unit: 45 s, 12 min, 30 h, 240 days."""
    if duration_s is None:
        return NONE
    if duration_s >= 172_800:
        return days(round(duration_s / 86_400), language=language)
    size, unit = next(((size, unit) for size, unit in ((3_600, "h"), (60, "min")) if duration_s >= 2 * size), (1, "s"))
    return f"{number(Decimal(str(duration_s)) / size, 0, language=language)}{NO_BREAK_SPACE}{unit}"
