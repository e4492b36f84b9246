"""`aristobot candles`: history from exchanges and files into the database, and out of it. A server may run meanwhile."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Final, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from app.bootstrap.ground import open_database
from app.core.clock import Clock, SystemClock
from app.core.config import Settings
from app.core.db import Database
from app.core.logging import configure_logging
from app.core.outage import is_database_gone
from app.domain.candles import EPOCH, Timeframe
from app.errors import AppError, InvalidInput, RetryableError
from app.exchanges.catalogue import PAPER, venue_of
from app.exchanges.registry import Registry, RegistryConfig
from app.marketdata import history as reading
from app.marketdata.candle_files import FileLabel, files_in, label_of
from app.marketdata.candle_transfer import Imported, Series, export, import_file, inventory
from app.marketdata.coverage import Range
from app.marketdata.history import History, HistoryReport
from app.marketdata.store import CandleStore

candles_cli = typer.Typer(help="Candles: fetch history, import and export files, list what is stored.", no_args_is_help=True)

_FORMATS: Final = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"]
_FAR: Final = datetime(2100, 1, 1, tzinfo=UTC)
_SAY_EVERY_S: Final = 10.0
_SHOWN_HOLES: Final = 10
_INTERRUPTED: Final = 130
#: Assets that others are priced in, for files whose names have no slash in the symbol and exchanges whose symbols were never read.
_QUOTES: Final = "FDUSD|USDT|USDC|TUSD|BUSD|USDP|DAI|USD|EUR|GBP|TRY|BRL|JPY|AUD|BTC|XBT|ETH|BNB"
_PAIR: Final = re.compile(rf"^([A-Z0-9]+?)({_QUOTES})$")
_LISTED_SQL: Final = "SELECT symbol FROM instruments WHERE exchange = $1 AND replace(symbol, '/', '') = $2 AND symbol LIKE '%/%'"

ExchangeOption = Annotated[str, typer.Option(help="Exchange, such as binance or kraken.")]
TimeframeOption = Annotated[Timeframe, typer.Option(help="Length of a candle.")]
Start = Annotated[datetime, typer.Option(formats=_FORMATS, help="First open time, UTC.")]
End = Annotated[datetime | None, typer.Option(formats=_FORMATS, help="First open time that is not meant, UTC. [default: now]")]


class FileFormat(StrEnum):
    """What an export is written as."""

    CSV = "csv"
    PARQUET = "parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tools:
    settings: Settings
    database: Database
    store: CandleStore
    registry: Registry
    clock: Clock


@asynccontextmanager
async def _tools() -> AsyncIterator[_Tools]:
    settings = Settings()
    configure_logging(level="WARNING", fmt=settings.log_format)
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        urls, _ = await open_database(settings, stack)
        database = Database(urls.app)
        await database.open()
        stack.push_async_callback(database.close)
        registry = Registry(RegistryConfig(binance_rest_url=settings.binance_rest_url, limiter_share=settings.limiter_share), clock=clock)
        stack.push_async_callback(registry.close)
        yield _Tools(settings=settings, database=database, store=CandleStore(database), registry=registry, clock=clock)


def _run(work: Coroutine[Any, Any, None], *, how_on: str) -> None:
    """Run to the end, or until Ctrl-C; `how_on` tells how to go on then."""
    try:
        asyncio.run(work)
    except KeyboardInterrupt:
        typer.echo(f"\nStopped. {how_on}")
        raise typer.Exit(_INTERRUPTED) from None
    except RetryableError as error:
        raise AppError(f"{error.message} {how_on}", code=error.code) from error
    except Exception as error:  # only what says that the database has gone; everything else goes on as it is
        if not is_database_gone(error):
            raise
        raise AppError(f"the database has gone. {how_on}", code="DATABASE_UNAVAILABLE") from error


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)


def _known(exchange: str, settings: Settings) -> str:
    if exchange == PAPER:
        raise InvalidInput(
            f"paper accounts trade at the prices of {settings.heartbeat_exchange}: say --exchange {settings.heartbeat_exchange}"
        )
    if venue_of(exchange) is None:
        raise InvalidInput(f"there is no exchange called {exchange!r}", field="exchange")
    return exchange


class _Shown:
    """A bar on a terminal, now and then a line elsewhere."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._console = Console(highlight=False)
        self._started = self._said_at = time.monotonic()
        self._bar: Progress | None = None
        self._done = 0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TaskProgressColumn()
            self._bar = Progress(*columns, TextColumn("{task.fields[pace]}"), TimeRemainingColumn(), console=self._console)
            self._bar.start()
            self._task = self._bar.add_task(self._title, total=None, pace="")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    async def update(self, progress: reading.Progress) -> None:
        """Show how far it is."""
        self.show(progress.done, progress.expected)

    def show(self, done: int, expected: int) -> None:
        """Show how far it is, in candles."""
        taken = max(time.monotonic() - self._started, 1e-9)
        pace = done / taken
        self._done = done
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=expected, pace=f"{pace:,.0f}/s")
        elif time.monotonic() - self._said_at > _SAY_EVERY_S:
            self._said_at = time.monotonic()
            left = f", {(expected - done) / pace:,.0f} s left" if pace else ""
            typer.echo(f"{self._title}: {done:,} of {expected:,} candles ({done / max(expected, 1):.0%}), {pace:,.0f}/s{left}")

    def wait(self, why: str, seconds: float) -> None:
        """Say why nothing happens."""
        self._console.print(f"{self._title}: {why} Waiting {seconds:.0f} s.", markup=False)


@candles_cli.command()
def backfill(
    exchange: ExchangeOption,
    symbol: Annotated[list[str], typer.Option(help="Symbol, such as BTC/USDT; may be given several times.")],
    timeframe: TimeframeOption,
    start: Start,
    end: End = None,
) -> None:
    """Fetch the candles that are not stored yet. Ctrl-C stops it; the same command goes on where it was."""

    async def work() -> None:
        async with _tools() as tools:
            venue = await tools.registry.public(_known(exchange, tools.settings))
            symbols = [await reading.resolved(venue, text) for text in symbol]
            _warn_of_retention(tools.settings, start)
            for each in dict.fromkeys(symbols):
                candles = History(venue, each, timeframe, database=tools.database, store=tools.store, clock=tools.clock)
                with _Shown(f"{each} {timeframe.value}") as shown:
                    since, until = _utc(start) or EPOCH, _utc(end)
                    report = await candles.run(start=since, end=until, on_progress=shown.update, on_wait=shown.wait)
                _say_history(exchange, report)

    _run(work(), how_on="What came so far is stored; the same command goes on from there.")


def _warn_of_retention(settings: Settings, start: datetime) -> None:
    months = settings.candles_keep_months
    if months and (SystemClock().now() - start.replace(tzinfo=UTC)).days > months * 31:
        typer.echo(f"CANDLES_KEEP_MONTHS is {months}: the server drops what is older within a day.")


def _say_history(exchange: str, report: HistoryReport) -> None:
    name = f"{report.symbol} {report.timeframe.value}"
    made_of = "" if report.source is report.timeframe else f", made of candles of {report.source.value}"
    typer.echo(f"{name}: {report.stored:,} candles stored{made_of}, {report.requests:,} requests.")
    if report.has_none:
        typer.echo(f"{name}: {exchange} has none in {_holes(report.has_none, report.timeframe)}.")
    if report.nothing_before is not None and report.nothing_before > report.start:
        typer.echo(f"{name}: the exchange gave nothing before {_moment(report.nothing_before)}.")
    first = report.nothing_before or report.start
    rest = [hole for hole in report.unexplained if hole[1] > first]
    if rest and rest[-1][1] == report.end:
        typer.echo(f"{name}: the exchange gave nothing after {_moment(rest.pop()[0])}.")
    if rest:
        typer.echo(f"{name}: the exchange gave nothing, and did not show that it has nothing, in {_holes(rest, report.timeframe)}.")


def _holes(holes: list[Range], timeframe: Timeframe) -> str:
    count = sum((end - start) // timeframe.duration for start, end in holes)
    shown = "; ".join(f"{_moment(start)} to {_moment(end)}" for start, end in holes[:_SHOWN_HOLES])
    more = f"; and {len(holes) - _SHOWN_HOLES:,} more" if len(holes) > _SHOWN_HOLES else ""
    return f"{len(holes):,} {'hole' if len(holes) == 1 else 'holes'} of {count:,} candles: {shown}{more}"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


@candles_cli.command("import")
def import_candles(
    files: Annotated[list[Path], typer.Argument(help="Files (.csv, .csv.gz, .zip, .parquet) or folders of them.")],
    exchange: Annotated[str | None, typer.Option(help="Exchange, if the file's name does not tell.")] = None,
    symbol: Annotated[str | None, typer.Option(help="Symbol such as BTC/USDT, if the file's name does not tell.")] = None,
    timeframe: Annotated[Timeframe | None, typer.Option(help="Length of a candle, if the file's name does not tell.")] = None,
) -> None:
    """Store candles from files: Binance's public archive, or what `export` wrote. A file with a bad row is not stored at all."""

    async def work() -> None:
        given = FileLabel(exchange=exchange, symbol=symbol, timeframe=timeframe.value if timeframe else None)
        async with _tools() as tools:
            chosen = [(path, await _series(tools, path, given)) for path in files_in(files)]
            for path, series in chosen:
                started = time.perf_counter()
                done = await import_file(path, series, database=tools.database, store=tools.store, clock=tools.clock)
                _say_import(path, series, done, time.perf_counter() - started)

    _run(work(), how_on="The files named above are stored; the same command does the rest.")


async def _series(tools: _Tools, path: Path, given: FileLabel) -> Series:
    """Return what is in a file: as given, else as it says itself."""
    told = label_of(path)
    exchange, symbol, timeframe = given.exchange or told.exchange, given.symbol or told.symbol, given.timeframe or told.timeframe
    for name, value in (("exchange", exchange), ("symbol", symbol), ("timeframe", timeframe)):
        if not value:
            raise InvalidInput(f"the name of {path.name} does not tell its {name}: give --{name}", field=name)
    if timeframe not in list(Timeframe):
        raise InvalidInput(f"{path.name} has candles of {timeframe}; kept are {', '.join(Timeframe)}", field="timeframe")
    known = _known(str(exchange), tools.settings)
    return Series(exchange=known, symbol=await _unified(tools, known, str(symbol)), timeframe=Timeframe(str(timeframe)))


async def _unified(tools: _Tools, exchange: str, symbol: str) -> str:
    """Return the symbol with its slash: as the exchange lists it, else by the asset that its end names."""
    name = symbol.upper()
    if "/" in name:
        return name
    async with tools.database.connection() as connection:
        listed = [row["symbol"] for row in await connection.fetch(_LISTED_SQL, exchange, name)]
    if len(listed) == 1:
        return str(listed[0])
    if not listed and (found := _PAIR.match(name)):
        return f"{found[1]}/{found[2]}"
    raise InvalidInput(f"{symbol} could be cut in several ways: give --symbol with a slash, such as BTC/USDT", field="symbol")


def _say_import(path: Path, series: Series, done: Imported, seconds: float) -> None:
    typer.echo(
        f"{path.name}: {series.symbol} {series.timeframe.value} of {series.exchange}, {_moment(done.first)} to {_moment(done.last)}: "
        f"{done.rows:,} rows, {done.new:,} new, {done.changed:,} changed ({done.rows / seconds:,.0f} rows/s)."
    )
    if done.holes:
        typer.echo(f"{path.name}: {_holes(done.holes, series.timeframe)}. `aristobot candles backfill` asks the exchange for them.")


@candles_cli.command("export")
def export_candles(
    exchange: ExchangeOption,
    symbol: Annotated[str, typer.Option(help="Symbol, such as BTC/USDT.")],
    timeframe: TimeframeOption,
    out: Annotated[Path, typer.Option(help="File to write; .csv, .csv.gz or .parquet.")],
    start: Annotated[datetime | None, typer.Option(formats=_FORMATS, help="First open time, UTC. [default: the first stored]")] = None,
    end: End = None,
    format: Annotated[FileFormat | None, typer.Option(help="csv or parquet. [default: as the file's name says]")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Write stored candles to a file, which `import` takes again."""

    async def work() -> None:
        _check_target(out, format, force=force)
        async with _tools() as tools:
            series = Series(exchange=exchange, symbol=await _unified(tools, exchange, symbol), timeframe=timeframe)
            since, until = _utc(start) or EPOCH, _utc(end) or _FAR
            count = await export(series, out, start=since, end=until, database=tools.database, store=tools.store)
            typer.echo(f"{out}: {count:,} candles of {series.symbol} {timeframe.value}.")

    _run(work(), how_on="Nothing was written.")


def _check_target(out: Path, format: FileFormat | None, *, force: bool) -> None:
    endings = {FileFormat.CSV: (".csv", ".csv.gz"), FileFormat.PARQUET: (".parquet",)}
    allowed = endings[format] if format else tuple(ending for each in endings.values() for ending in each)
    if not out.name.endswith(allowed):
        raise InvalidInput(f"the file's name must end with {' or '.join(allowed)}, was {out.name}", field="out")
    if out.exists() and not force:
        raise InvalidInput(f"{out} is there already: --force writes over it", field="out")
    if not out.absolute().parent.is_dir():
        raise InvalidInput(f"there is no folder {out.absolute().parent}", field="out")


@candles_cli.command("list")
def list_candles() -> None:
    """Show what is stored: first and last open time, candles and unexplained holes, for each exchange, symbol and timeframe."""

    async def work() -> None:
        async with _tools() as tools:
            found = await inventory(tools.database)
        if not found:
            typer.echo("No candle is stored.")
            return
        width = max(len(each.symbol) for each in found)
        place = max(len(each.exchange) for each in found)
        typer.echo(
            f"{'exchange':{max(place, 8)}}  {'symbol':{max(width, 6)}}  {'':>3}  {'first':16}  {'last':16}  {'candles':>13}  open gaps"
        )
        for each in found:
            what = f"{each.exchange:{max(place, 8)}}  {each.symbol:{max(width, 6)}}  {each.timeframe.value:>3}"
            typer.echo(f"{what}  {_moment(each.first)}  {_moment(each.last)}  {each.count:13,}  {each.open_gaps:9,}")

    _run(work(), how_on="")
