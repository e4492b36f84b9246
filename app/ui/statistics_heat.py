"""Heat maps of statistics: the calendar of the last 53 weeks, and the week by weekday and hour."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from babel.dates import get_day_names, get_month_names

from app.core.i18n import current_language
from app.statistics.grouping import GroupLine
from app.statistics.telling import day_of
from app.ui.views.statistics import Calendar, CalendarDay, CalendarLabel, HeatCell, HourRow

WEEKS: Final = 53
_WEEK: Final = 7
_HOURS: Final = 24
#: The picture of the calendar, in its own units.
_CELL: Final = 16
_LEFT: Final = 34
_TOP: Final = 20
#: Fractions of the largest amount from which on a tone is stronger.
_TONES: Final = (Decimal(0), Decimal("0.1"), Decimal("0.3"), Decimal("0.6"))


def cell_of(line: GroupLine | None, largest: Decimal) -> HeatCell:
    """Return what trades came to, its tone by how it compares with the largest amount beside it."""
    if line is None:
        return HeatCell()
    size = sum(abs(line.profit) > bound * largest for bound in _TONES)
    return HeatCell(value=line.profit, tone=size if line.profit > 0 else -size, trades=line.trades)


def _largest(lines: Sequence[GroupLine]) -> Decimal:
    """What counts as the largest: one outlier must not make all others pale, so a tenth of them may be beyond it."""
    sizes = sorted(abs(line.profit) for line in lines)
    return sizes[(len(sizes) - 1) * 9 // 10] if sizes else Decimal(0)


def calendar_of(lines: Sequence[GroupLine], *, first: date | None, last: date) -> Calendar:
    """Return the last 53 weeks until `last`; days before `first` or after `last` are no part of what was asked for."""
    by_day: Mapping[date, GroupLine] = {day_of(line.key): line for line in lines}
    monday = last - timedelta(days=last.weekday()) - timedelta(weeks=WEEKS - 1)
    shown = [monday + timedelta(days=number) for number in range(WEEKS * _WEEK)]
    shown = [day for day in shown if day <= last and (first is None or day >= first)]
    largest = _largest([by_day[day] for day in shown if day in by_day])
    days = [
        CalendarDay(
            day=day,
            x=_LEFT + (day - monday).days // _WEEK * _CELL,
            y=_TOP + day.weekday() * _CELL,
            cell=cell_of(by_day.get(day), largest),
        )
        for day in shown
    ]
    return Calendar(days=tuple(days), labels=_labels(monday), width=_LEFT + WEEKS * _CELL, height=_TOP + _WEEK * _CELL)


def _labels(monday: date) -> tuple[CalendarLabel, ...]:
    months = get_month_names("abbreviated", context="stand-alone", locale=current_language())
    found = []
    for week in range(1, WEEKS - 1):
        begin = monday + timedelta(weeks=week)
        if begin.day <= _WEEK:
            found.append(CalendarLabel(x=_LEFT + week * _CELL, y=_TOP - 7, text=months[begin.month]))
    names = weekday_names()
    found += [CalendarLabel(x=0, y=_TOP + number * _CELL + 12, text=names[number]) for number in (0, 2, 4, 6)]
    return tuple(found)


def weekday_names() -> tuple[str, ...]:
    """Return the short names of the weekdays, Monday first, in the language spoken here."""
    names = get_day_names("abbreviated", context="stand-alone", locale=current_language())
    return tuple(names[number] for number in range(_WEEK))


def hours_of(lines: Sequence[GroupLine]) -> tuple[HourRow, ...]:
    """Return the week, a row for each weekday; nothing where nothing ended in it."""
    if not lines:
        return ()
    by_hour = {line.key: line for line in lines}
    largest = _largest(lines)
    names = weekday_names()
    totals = [_total([by_hour[key] for key in range(day * _HOURS, (day + 1) * _HOURS) if key in by_hour]) for day in range(_WEEK)]
    most = max((abs(total.value) for total in totals if total.value is not None), default=Decimal(0))
    return tuple(
        HourRow(
            name=names[day],
            cells=tuple(cell_of(by_hour.get(day * _HOURS + hour), largest) for hour in range(_HOURS)),
            total=_toned(totals[day], most),
        )
        for day in range(_WEEK)
    )


def _total(lines: Sequence[GroupLine]) -> HeatCell:
    if not lines:
        return HeatCell()
    return HeatCell(value=sum((line.profit for line in lines), Decimal(0)), trades=sum(line.trades for line in lines))


def _toned(cell: HeatCell, largest: Decimal) -> HeatCell:
    if cell.value is None:
        return cell
    size = sum(abs(cell.value) > bound * largest for bound in _TONES)
    return HeatCell(value=cell.value, tone=size if cell.value > 0 else -size, trades=cell.trades)
