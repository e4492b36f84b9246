"""Files of candles: Binance's public csv and zip, our csv (plain or gzip), and parquet. Read and written in pieces.

A csv begins each line with `open_time,open,high,low,close,volume`; Binance's has six columns more. `open_time` is in milliseconds, in
Binance's files of 2025 and later in microseconds. A first line of names may be there or not.
"""

import gzip
import importlib
import io
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from app.domain.candles import Timeframe
from app.errors import CandleFileUnreadable, InvalidInput
from app.marketdata.bulk import CANDLE_DTYPE, VALUES, Candles

COLUMNS: Final = ("open_time", *VALUES)
ENDINGS: Final = (".csv", ".csv.gz", ".zip", ".parquet")

_BINANCE_NAME: Final = re.compile(r"^(?P<pair>[A-Z0-9]{5,20})-(?P<timeframe>[0-9]+[smhdwM])-\d{4}-\d{2}(-\d{2})?\.")
_OUR_NAME: Final = re.compile(r"^(?P<exchange>[a-z][a-z0-9]*)-(?P<pair>[A-Z0-9]{5,20})-(?P<timeframe>[0-9]+[mhd])[-.]")
_BLOCK_BYTES: Final = 1 << 22
#: Larger open times are microseconds: as milliseconds this is the year 5138.
_MOST_MILLISECONDS: Final = 100_000_000_000_000
_ROWS_OF_PARQUET: Final = 100_000
#: What a damaged file raises while it is unpacked.
_DAMAGED: Final = (OSError, EOFError, zlib.error, zipfile.BadZipFile)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLabel:
    """What a file says of itself: by its name, a parquet by its metadata. `symbol` may lack its slash; None where it does not say."""

    exchange: str | None = None
    symbol: str | None = None
    timeframe: str | None = None


def files_in(paths: Iterable[Path]) -> list[Path]:
    """Return the files, folders replaced by the files of candles in them in order of their names.

    Raises:
        InvalidInput: there is no such file, a folder has none, or a file is of another kind.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(each for each in path.iterdir() if each.is_file() and each.name.endswith(ENDINGS))
            if not inside:
                raise InvalidInput(f"there is no file of candles in {path} ({', '.join(ENDINGS)})")
            found += inside
        elif not path.is_file():
            raise InvalidInput(f"there is no file {path}")
        elif not path.name.endswith(ENDINGS):
            raise InvalidInput(f"{path.name} is no file of candles: its name must end with {', '.join(ENDINGS)}")
        else:
            found.append(path)
    return found


def label_of(path: Path) -> FileLabel:
    """Return what the file says of itself.

    Raises:
        CandleFileUnreadable: a parquet that is none.
    """
    if path.name.endswith(".parquet"):
        with _unpacking(path), path.open("rb") as file:
            metadata = _parquet(path, file).schema_arrow.metadata or {}
        told = {name: metadata[key].decode() for name in ("exchange", "symbol", "timeframe") if (key := name.encode()) in metadata}
        if told:
            return FileLabel(**told)
    if found := _BINANCE_NAME.match(path.name):
        return FileLabel(exchange="binance", symbol=found["pair"], timeframe=found["timeframe"])
    if found := _OUR_NAME.match(path.name):
        return FileLabel(exchange=found["exchange"], symbol=found["pair"], timeframe=found["timeframe"])
    return FileLabel()


def read(path: Path, timeframe: Timeframe) -> Iterator[Candles]:
    """Yield the candles of a file in pieces, oldest first, each checked.

    Raises:
        CandleFileUnreadable: a row that is no candle, one out of order or off the timeframe's grid, or a damaged file; names the line.
    """
    last: int | None = None
    with _unpacking(path):
        for candles, first_line in _parquet_pieces(path) if path.name.endswith(".parquet") else _csv_pieces(path):
            _check(path, candles, timeframe, last=last, first_line=first_line)
            last = int(candles["open_time"][-1])
            yield candles


def _check(path: Path, candles: Candles, timeframe: Timeframe, *, last: int | None, first_line: int) -> None:
    moments, low, high = candles["open_time"], candles["low"], candles["high"]
    before = np.r_[moments[0] - 1 if last is None else last, moments[:-1]]
    body = np.minimum(candles["open"], candles["close"]), np.maximum(candles["open"], candles["close"])
    rules = (
        (np.logical_and.reduce([np.isfinite(candles[name]) for name in VALUES]), "its prices and volume must be finite numbers"),
        (moments > before, "it must open after the candle before it"),
        (moments % timeframe.milliseconds == 0, f"its open time must be a multiple of {timeframe.value}"),
        ((low <= body[0]) & (body[1] <= high), "its low must not lie above its open and close, nor its high below them"),
        ((low >= 0) & (candles["volume"] >= 0), "its prices and volume must not be negative"),
    )
    wrong = [(int(np.argmin(holds)), rule) for holds, rule in rules if not np.all(holds)]
    if wrong:
        place, rule = min(wrong, key=lambda each: each[0])
        shown = ",".join(str(value) for value in candles[place].tolist())
        raise CandleFileUnreadable(f"{path.name}, line {first_line + place}: {rule}, was {shown}")


@contextmanager
def _unpacking(path: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGED as error:
        raise CandleFileUnreadable(f"{path.name} cannot be read, it may be cut off: {error}") from error


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    if path.name.endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            inside = [name for name in archive.namelist() if name.endswith(".csv")]
            if len(inside) != 1:
                raise CandleFileUnreadable(f"{path.name} must hold one csv file, it holds {len(inside)}")
            with archive.open(inside[0]) as file:
                yield file
    elif path.name.endswith(".gz"):
        with gzip.open(path, "rb") as packed:
            yield packed  # type: ignore[misc]  # it is read as a file
    else:
        with path.open("rb") as plain:
            yield plain


def _csv_pieces(path: Path) -> Iterator[tuple[Candles, int]]:
    """Yield pieces with the number of their first line."""
    line, columns = 1, 0
    with _opened(path) as file:
        for block in _blocks(file):
            lines = block.decode("utf-8", errors="replace").splitlines()
            if line == 1:
                lines[0] = lines[0].removeprefix("\ufeff")
                columns = lines[0].count(",") + 1
                if _is_header(path, lines[0]):
                    line, lines = 2, lines[1:]
            if lines:
                yield _parsed(path, lines, columns, line), line
            line += len(lines)
    if line <= 2 and not columns:
        raise CandleFileUnreadable(f"{path.name} is empty")


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    """Yield whole lines."""
    rest = b""
    while block := file.read(_BLOCK_BYTES):
        whole, newline, rest = (rest + block).rpartition(b"\n")
        if newline:
            yield whole
    if rest.strip():
        yield rest


def _is_header(path: Path, line: str) -> bool:
    if line[:1].isdigit():
        return False
    names = tuple(name.strip(' "').lower() for name in line.split(","))
    if names[: len(COLUMNS)] != COLUMNS:
        raise CandleFileUnreadable(f"{path.name}, line 1: the columns must be {','.join(COLUMNS)}, was {line[:80]}")
    return True


def _parsed(path: Path, lines: list[str], columns: int, first_line: int) -> Candles:
    arrow, read = _arrow("pyarrow"), _arrow("pyarrow.csv")
    names = [*COLUMNS, *(f"further_{number}" for number in range(columns - len(COLUMNS)))]
    types = dict.fromkeys(VALUES, arrow.float64()) | {"open_time": arrow.int64()}
    text = "\n".join(lines).encode()
    try:
        table = read.read_csv(
            io.BytesIO(text),
            read.ReadOptions(column_names=names, use_threads=False, block_size=len(text) + 1),
            read.ParseOptions(ignore_empty_lines=False),
            read.ConvertOptions(column_types=types, include_columns=list(COLUMNS)),
        )
    except arrow.ArrowInvalid as error:
        raise _bad_line(path, lines, columns, first_line) from error
    if columns < len(COLUMNS) or table["open_time"].null_count or len(table) != len(lines):
        raise _bad_line(path, lines, columns, first_line)
    candles = np.empty(len(table), CANDLE_DTYPE)
    for name in COLUMNS:
        candles[name] = table[name].to_numpy()
    in_microseconds = candles["open_time"] > _MOST_MILLISECONDS
    if np.any(in_microseconds):
        exact = candles["open_time"] % 1000 == 0
        if not np.all(exact | ~in_microseconds):
            place = int(np.argmin(exact | ~in_microseconds))
            raise CandleFileUnreadable(f"{path.name}, line {first_line + place}: its open time is no whole millisecond")
        candles["open_time"] = np.where(in_microseconds, candles["open_time"] // 1000, candles["open_time"])
    return candles


def _bad_line(path: Path, lines: list[str], columns: int, first_line: int) -> CandleFileUnreadable:
    """Find what is wrong where the quick way only says that something is."""
    for number, line in enumerate(lines, start=first_line):
        row = line.split(",")
        if len(row) != columns or columns < len(COLUMNS):
            return CandleFileUnreadable(f"{path.name}, line {number}: it must have {max(columns, len(COLUMNS))} columns, has {len(row)}")
        for name, text in zip(COLUMNS, row, strict=False):
            try:
                int(text) if name == "open_time" else float(text)
            except ValueError:
                return CandleFileUnreadable(f"{path.name}, line {number}: {name} is no number, was {text[:40]!r}")
    return CandleFileUnreadable(f"{path.name}, lines {first_line} to {first_line + len(lines) - 1} cannot be read")


def _arrow(module: str) -> Any:
    # Loaded when it is needed: it takes 40 MB, and the server, which shares this command, never does.
    return importlib.import_module(module)


def _parquet(path: Path, file: IO[bytes]) -> Any:
    arrow = _arrow("pyarrow")
    try:
        return _arrow("pyarrow.parquet").ParquetFile(file)
    except arrow.ArrowInvalid as error:
        raise CandleFileUnreadable(f"{path.name} is no parquet file") from error


def _parquet_pieces(path: Path) -> Iterator[tuple[Candles, int]]:
    arrow = _arrow("pyarrow")
    with path.open("rb") as file:
        source = _parquet(path, file)
        if not set(COLUMNS) <= set(source.schema_arrow.names):
            raise CandleFileUnreadable(f"{path.name} must have the columns {', '.join(COLUMNS)}")
        row = 1
        for batch in source.iter_batches(_ROWS_OF_PARQUET, columns=list(COLUMNS)):
            candles = np.empty(len(batch), CANDLE_DTYPE)
            try:
                moments = batch["open_time"]
                if not arrow.types.is_integer(moments.type):
                    moments = moments.cast(arrow.timestamp("ms", "UTC"))
                candles["open_time"] = moments.cast(arrow.int64()).to_numpy(zero_copy_only=False)
                for name in VALUES:
                    candles[name] = batch[name].cast(arrow.float64()).to_numpy(zero_copy_only=False)
            except (arrow.ArrowException, ValueError) as error:
                raise CandleFileUnreadable(f"{path.name}, rows {row} to {row + len(batch) - 1}: {error}") from error
            if len(batch):
                yield candles, row
            row += len(batch)


@contextmanager
def written(path: Path, label: FileLabel) -> Iterator[Callable[[Candles], None]]:
    """Give what appends candles to a new file; by its name a parquet, a csv, or a csv.gz. It has its name once it is whole.

    `label` is kept in a parquet. Open times become timestamps of milliseconds in UTC there, numbers in a csv.
    """
    part = path.with_name(path.name + ".part")
    try:
        with (_parquet_writer if path.name.endswith(".parquet") else _csv_writer)(part, path, label) as append:
            yield append
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _csv_writer(part: Path, path: Path, _label: FileLabel) -> Iterator[Callable[[Candles], None]]:
    arrow, write_csv = _arrow("pyarrow"), _arrow("pyarrow.csv").write_csv
    options = _arrow("pyarrow.csv").WriteOptions(include_header=False, quoting_style="none")
    with part.open("wb") as plain:
        file: Any = gzip.GzipFile(path.name.removesuffix(".gz"), "wb", fileobj=plain, mtime=0) if path.name.endswith(".gz") else plain
        file.write((",".join(COLUMNS) + "\n").encode())

        def append(candles: Candles) -> None:
            text = io.BytesIO()
            write_csv(arrow.table({name: np.ascontiguousarray(candles[name]) for name in COLUMNS}), text, options)
            file.write(text.getbuffer())

        yield append
        if file is not plain:
            file.close()


@contextmanager
def _parquet_writer(part: Path, _path: Path, label: FileLabel) -> Iterator[Callable[[Candles], None]]:
    arrow = _arrow("pyarrow")
    moment = arrow.timestamp("ms", "UTC")
    fields = [arrow.field("open_time", moment, nullable=False)]
    fields += [arrow.field(name, arrow.float64(), nullable=False) for name in VALUES]
    told = {"exchange": label.exchange or "", "symbol": label.symbol or "", "timeframe": label.timeframe or ""}
    schema = arrow.schema(fields, metadata=told)
    with _arrow("pyarrow.parquet").ParquetWriter(part, schema, compression="zstd") as writer:

        def append(candles: Candles) -> None:
            moments = arrow.array(np.ascontiguousarray(candles["open_time"])).cast(moment)
            writer.write_table(arrow.table([moments, *(np.ascontiguousarray(candles[name]) for name in VALUES)], schema=schema))

        yield append
