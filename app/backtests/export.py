"""Files of a backtest's result: CSV, JSON, parquet, and a report in HTML that opens by double click.

All of it is computation on columns that are in memory, and parquet loads 40 MB of code: it belongs into a process of the pool, never into
the server's loop.
"""

import csv
import importlib
import io
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

import msgspec
import numpy as np

from app.backtests.export_html import html_report
from app.backtests.export_run import ExportedRun, RunHeader
from app.core.i18n import N_
from app.core.spreadsheets import cell
from app.domain.arrays import Times
from app.domain.metrics import drawdown_of
from app.domain.metrics_trades import trade_returns
from app.domain.outcome import NO_REASON, REASONS
from app.errors import FileTooLarge

FORMAT_VERSION: Final = 1
#: Of a file of text. It goes through the server's memory, and a result may have millions of rows; parquet has a tenth of that.
MOST_BYTES: Final = 128_000_000
#: Rows that are written at a time: as Python's objects all of them would be gigabytes.
_PIECE: Final = 20_000


class ExportKind(StrEnum):
    """A file that can be made; the value is the end of its name."""

    TRADES_CSV = "trades.csv"
    FILLS_CSV = "fills.csv"
    EQUITY_CSV = "equity.csv"
    JSON = "json"
    TRADES_PARQUET = "trades.parquet"
    FILLS_PARQUET = "fills.parquet"
    EQUITY_PARQUET = "equity.parquet"
    HTML = "html"

    @property
    def media_type(self) -> str:
        """What HTTP calls it."""
        return _MEDIA_TYPES[self.value.rpartition(".")[2]]


_MEDIA_TYPES: Final = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "parquet": "application/vnd.apache.parquet",
    "html": "text/html; charset=utf-8",
}
#: Columns that are no amounts: JSON has them as numbers.
_NUMBERS: Final = frozenset({"number", "candles", "profit_fraction", "worst", "best"})
_Columns = dict[str, Any]


def file_name(header: RunHeader, kind: ExportKind) -> str:
    """Return a name that every file system takes."""
    market = "".join(character for character in header.symbol if character.isalnum())
    return f"backtest-{header.number}-{market}-{header.timeframe}.{kind.value}"


def exported(run: ExportedRun, kind: ExportKind, *, language: str = "en") -> bytes:
    """Return a file.

    Args:
        run: What it is about.
        kind: Which file.
        language: Of the HTML report; the others have none.

    Raises:
        FileTooLarge: as text it would be larger than `MOST_BYTES`.
    """
    match kind:
        case ExportKind.JSON:
            return _json(run)
        case ExportKind.HTML:
            return html_report(run, language=language).encode()
        case _:
            columns = _TABLES[kind.value.partition(".")[0]](run)
            if kind.value.endswith("parquet"):
                return _parquet(run.header, columns)
            # A curve may have millions of rows, which would all say the same.
            return _csv(run.header, columns, has_origin=kind is not ExportKind.EQUITY_CSV)


def _trades(run: ExportedRun) -> _Columns:
    trades = run.trades
    return {
        "number": np.arange(1, len(trades) + 1),
        "side": _sides(trades.side, "long", "short"),
        "entry_at": _moments(run.times[trades.entry_candle]),
        "exit_at": _moments(run.times[trades.exit_candle]),
        "candles": trades.exit_candle - trades.entry_candle,
        "quantity": trades.quantity,
        "entry_price": trades.entry_price,
        "exit_price": trades.exit_price,
        "fees": trades.fees,
        "slippage": trades.slippage,
        "funding": trades.funding,
        "profit": trades.profit,
        "profit_fraction": trade_returns(trades),
        "worst": trades.worst,
        "best": trades.best,
        "reason": _reasons(trades.reason),
    }


def _fills(run: ExportedRun) -> _Columns:
    fills = run.fills
    return {
        "number": np.arange(1, len(fills) + 1),
        "candle_at": _moments(run.times[fills.candle]),
        "side": _sides(fills.side, "buy", "sell"),
        "quantity": fills.quantity,
        "price": fills.price,
        "notional": fills.quantity * fills.price,
        "fee": fills.fee,
        "slippage": fills.slippage,
        "reason": _reasons(fills.reason),
    }


def _equity(run: ExportedRun) -> _Columns:
    # Candles before the first decision are history that indicators needed: nothing was held yet.
    start = int(np.searchsorted(run.times + run.report.timeframe_ms, run.report.start_ms))
    equity = run.equity[start:]
    return {
        "closed_at": _moments(run.times[start:] + run.report.timeframe_ms),
        "equity": equity,
        "drawdown": drawdown_of(equity) if len(equity) else equity,
    }


_TABLES: Final[dict[str, Callable[[ExportedRun], _Columns]]] = {"trades": _trades, "fills": _fills, "equity": _equity}


def _csv(header: RunHeader, columns: _Columns, *, has_origin: bool) -> bytes:
    """Return a table; `has_origin` begins each row with what it is of, so that files of several runs can be put under each other."""
    origin = {"backtest": str(header.number), "strategy": cell(header.strategy), "symbol": cell(header.symbol)} if has_origin else {}
    target = io.StringIO()
    writer = csv.writer(target)
    writer.writerow([*origin, *columns])
    about = list(origin.values())
    for piece in _pieces(columns):
        writer.writerows([*about, *row] for row in _rows(piece))
        _check_size(target.tell())
    return target.getvalue().encode()


def _pieces(columns: _Columns) -> Iterator[_Columns]:
    for begin in range(0, len(next(iter(columns.values()))), _PIECE):
        yield {name: column[begin : begin + _PIECE] for name, column in columns.items()}


def _check_size(size: int) -> None:
    if size > MOST_BYTES:
        most = MOST_BYTES // 1_000_000
        raise FileTooLarge(N_(f"This file would be larger than {most} MB. Take it as parquet, or take a shorter range."), field="format")


def _rows(columns: _Columns) -> Iterator[Sequence[str]]:
    written = [[_written(value) for value in _values(column)] for column in columns.values()]
    return zip(*written, strict=True)


def _values(column: Any) -> list[Any]:
    if isinstance(column, np.ndarray) and column.dtype.kind == "M":
        return [f"{moment[:19]}Z" for moment in np.datetime_as_string(column, unit="ms").tolist()]
    return column.tolist() if isinstance(column, np.ndarray) else list(column)


def _written(value: Any) -> str:
    """Return a cell: numbers without exponents, and as many digits as give back the same number."""
    if isinstance(value, float):
        text = repr(value + 0.0)
        return f"{Decimal(text):f}" if "e" in text else text.removesuffix(".0")
    return "" if value is None else str(value)


def _json(run: ExportedRun) -> bytes:
    """Amounts are strings, as everywhere; the equity has the points of the report, the whole curve being in CSV and parquet."""
    whole = {"format": "aristobot.backtest", "version": FORMAT_VERSION, "header": run.header, "report": run.report}
    target = io.BytesIO()
    target.write(msgspec.json.encode(whole)[:-1])
    for name, columns in (("trades", _trades(run)), ("fills", _fills(run))):
        target.write(b',"%s":[' % name.encode())
        for place, piece in enumerate(_pieces(columns)):
            target.write(b"," if place else b"")
            target.write(msgspec.json.encode(_records(piece))[1:-1])
            _check_size(target.tell())
        target.write(b"]")
    target.write(b"}")
    return target.getvalue()


def _records(columns: _Columns) -> list[dict[str, Any]]:
    """Return a table row by row: amounts, prices and quantities as strings, ratios and counts as numbers, no reason as null."""
    written = [
        column if isinstance(column, list) else _values(column) if name in _NUMBERS else [_written(value) for value in _values(column)]
        for name, column in columns.items()
    ]
    return [dict(zip(columns, row, strict=True)) for row in zip(*written, strict=True)]


def _parquet(header: RunHeader, columns: _Columns) -> bytes:
    """Numbers as the engine had them; the header is in the file's metadata under `aristobot.backtest`."""
    # Loaded when it is needed: the server's process, which imports this module, never does.
    arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    arrays = {name: arrow.array(column, type=_arrow_type(arrow, column)) for name, column in columns.items()}
    table = arrow.table(arrays).replace_schema_metadata({"aristobot.backtest": msgspec.json.encode(header)})
    target = io.BytesIO()
    parquet.write_table(table, target, compression="zstd")
    return target.getvalue()


def _arrow_type(arrow: Any, column: Any) -> Any:
    if isinstance(column, np.ndarray):
        return arrow.timestamp("ms", tz="UTC") if column.dtype.kind == "M" else None
    return arrow.string()


def _moments(times: Times) -> Any:
    return times.astype("datetime64[ms]")


def _sides(side: Any, above: str, below: str) -> list[str]:
    return [above if one > 0 else below for one in side.tolist()]


def _reasons(codes: Any) -> list[str | None]:
    return [None if code == NO_REASON else REASONS[code].value for code in codes.tolist()]
