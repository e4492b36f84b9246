"""A summary as one file: CSV (RFC 4180) with plain decimals and no cell that a spreadsheet takes for a formula, or JSON."""

import csv
import io
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

import orjson

from app.core.spreadsheets import cell
from app.domain.instruments import plain
from app.statistics.figures import METRICS
from app.statistics.grouping import GroupLine
from app.statistics.naming import month_of, name_of
from app.statistics.rates import UNIT
from app.statistics.summary import DIMENSIONS, Summary
from app.statistics.telling import calendar_out, curve_out, day_of, groups_out, hours_out, summary_out

COLUMNS: Final = (
    "table", "key", "name", "value", "trades", "won", "lost", "profit", "gross_profit", "gross_loss", "fees", "currency", "note",
)  # fmt: skip
_HOURS_A_DAY: Final = 24
_Row = dict[str, str | int | float | Decimal | None]


def csv_of(summary: Summary) -> str:
    """Return the metrics and every grouping under each other; `table` says which a row is of."""
    target = io.StringIO()
    writer = csv.writer(target)
    writer.writerow(COLUMNS)
    for row in _rows(summary):
        writer.writerow([_cell(row.get(name)) for name in COLUMNS])
    return target.getvalue()


def json_of(summary: Summary) -> bytes:
    """Return what the API tells of it in one object."""
    unit, zone, names = summary.unit, str(summary.asked.zone), summary.names
    content = {
        "summary": summary_out(summary).model_dump(mode="json"),
        **{f"by_{name}": [line.model_dump(mode="json") for line in groups_out(name, summary.groups[name], names)] for name in DIMENSIONS},
        "by_hour": hours_out(summary.hours, unit, zone).model_dump(mode="json"),
        "calendar": calendar_out(summary.days, unit, zone).model_dump(mode="json"),
        "equity": curve_out(summary.accounts, summary.curve, unit).model_dump(mode="json"),
    }
    return orjson.dumps(content, option=orjson.OPT_INDENT_2)


def _cell(value: str | float | Decimal | None) -> str:
    if isinstance(value, Decimal):
        return plain(value)
    return str(value) if isinstance(value, int | float) else cell(value)


def _rows(summary: Summary) -> Iterator[_Row]:
    for metric in METRICS:
        currency = (UNIT if metric.of_accounts else summary.unit) if metric.unit in ("profit", "money") else None
        yield {"table": "metrics", "key": metric.key, "value": metric.value(summary), "currency": currency, "note": metric.convention}
    for dimension in DIMENSIONS:
        lines = summary.groups[dimension]
        names = [name_of(dimension, line.key, summary.names) for line in lines]
        keys = ["" if line.key is None else str(line.key) for line in lines]
        yield from _group(f"by_{dimension}", lines, keys, names, summary.unit)
    for table, lines, keys in (
        ("by_month", summary.months, [month_of(line.key) for line in summary.months]),
        ("by_day", summary.days, [day_of(line.key).isoformat() for line in summary.days]),
        ("by_hour", summary.hours, [_hour(line.key) for line in summary.hours]),
    ):
        yield from _group(table, lines, keys, keys, summary.unit)
    for other in summary.others:
        yield {
            "table": "without_rate", "key": other.quote, "trades": other.trades, "won": other.won, "profit": other.profit,
            "fees": other.fees, "currency": other.quote,
        }  # fmt: skip
    for asset, fee in summary.unvalued.items():
        yield {"table": "fees_without_price", "key": asset, "fees": fee, "currency": asset}
    for line in summary.slippage.lines:
        yield {
            "table": "slippage", "key": line.basis.value, "trades": line.orders, "value": line.cost, "currency": line.quote,
            "note": "trades counts orders; above 0 fills were worse than the price of the decision",
        }  # fmt: skip
    for why, orders in summary.slippage.unknown:
        yield {"table": "slippage_unknown", "key": why.value, "trades": orders, "note": "trades counts orders"}


def _hour(key: int) -> str:
    weekday, hour = divmod(key, _HOURS_A_DAY)
    return f"{weekday} {hour:02d}"


def _group(table: str, lines: Sequence[GroupLine], keys: Sequence[str], names: Sequence[str | None], unit: str) -> Iterator[_Row]:
    for line, key, name in zip(lines, keys, names, strict=True):
        yield {
            "table": table, "key": key, "name": name, "trades": line.trades, "won": line.won, "lost": line.lost, "profit": line.profit,
            "gross_profit": line.gross_profit, "gross_loss": line.gross_loss, "fees": line.fees, "currency": unit,
        }  # fmt: skip
