"""Files of candles: what is written is read again, what others publish is read, and what is wrong is named by its line."""

import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.candles import Timeframe
from app.errors import CandleFileUnreadable, InvalidInput
from app.marketdata import candle_files
from app.marketdata.bulk import CANDLE_DTYPE, VALUES, Candles
from app.marketdata.candle_files import FileLabel, files_in, label_of, read, written
from tests.recorded import candle_rows, shared_file

FIRST = 1_704_067_200_000  # 2024-01-01
HEADER = "open_time,open,high,low,close,volume\n"
BINANCE_HEADER = "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore\n"


def rows(count: int = 5, *, unit: int = 1) -> list[str]:
    return [f"{(FIRST + index * 60_000) * unit},42283.58000000,42300.1,42261.02,42298.61,35.92724" for index in range(count)]


def binance(lines: list[str], *, unit: int = 1) -> list[str]:
    """Twelve columns, as in the public archive."""
    return [f"{line},{int(line.split(',')[0]) + 60_000 * unit - 1},1519032.4,1327,23.18,980394.1,0" for line in lines]


def candles_of(path: Path, timeframe: Timeframe = Timeframe.M1) -> Candles:
    pieces = list(read(path, timeframe))
    return np.concatenate(pieces) if pieces else np.zeros(0, CANDLE_DTYPE)


def put(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def zipped(path: Path, text: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(path.name.replace(".zip", ".csv"), text)
    return path


def packed(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode()))
    return path


EXPECTED = np.array([(FIRST + index * 60_000, 42283.58, 42300.1, 42261.02, 42298.61, 35.92724) for index in range(5)], CANDLE_DTYPE)


@pytest.mark.parametrize(
    ("make", "name"), [(put, "BTCUSDT-1m-2024-01.csv"), (zipped, "BTCUSDT-1m-2024-01.zip"), (packed, "BTCUSDT-1m-2024-01.csv.gz")]
)
@pytest.mark.parametrize("unit", [1, 1000])
@pytest.mark.parametrize("header", ["", HEADER, BINANCE_HEADER, "\ufeff" + HEADER.upper()])
def test_each_layout_gives_the_same_candles(tmp_path: Path, make: Callable[[Path, str], Path], name: str, unit: int, header: str) -> None:
    lines = rows(unit=unit)
    if header == BINANCE_HEADER or not header:
        lines = binance(lines, unit=unit)

    found = candles_of(make(tmp_path / name, header + "\r\n".join(lines) + "\n"))

    assert found.tobytes() == EXPECTED.tobytes()


def test_a_file_without_a_last_newline_and_one_of_many_blocks_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "a.csv", HEADER + "\n".join(rows(300)))
    whole = candles_of(path)

    for size in (7, 100, 1_000):
        monkeypatch.setattr(candle_files, "_BLOCK_BYTES", size)
        assert candles_of(path).tobytes() == whole.tobytes()
    assert len(whole) == 300


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1704067380000,1,1,1,1", "must have 6 columns, has 5"),
        ("1704067380000,1,1,1,1,1,1", "must have 6 columns, has 7"),
        ("", "must have 6 columns, has 1"),
        ("17040673x0000,1,1,1,1,1", "open_time is no number, was '17040673x0000'"),
        ("1704067380000,1,1,1,one,1", "close is no number, was 'one'"),
        ("1704067380000,1,1,1,nan,1", "must be finite"),
        ("1704067380000,1,1,1,inf,1", "must be finite"),
        ("1704067380001,1,1,1,1,1", "must be a multiple of 1m"),
        ("1704067320000,1,1,1,1,1", "must open after the candle before it"),
        ("1704067000000,1,1,1,1,1", "must open after the candle before it"),
        ("1704067380000,1,2,1.5,1,1", "low must not lie above"),
        ("1704067380000,1,2,1,3,1", "nor its high below"),
        ("1704067380000,1,2,1,1,-1", "must not be negative"),
        ("1704067380000,-1,2,-1,1,1", "must not be negative"),
        ("1704067380000001,1,1,1,1,1", "no whole millisecond"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path: Path, line: str, said: str) -> None:
    path = put(tmp_path / "bad.csv", HEADER + "\n".join([*rows(3), line, *rows(5)[4:]]) + "\n")

    with pytest.raises(CandleFileUnreadable) as refused:
        candles_of(path)

    assert "bad.csv, line 5" in refused.value.message
    assert said in refused.value.message


def test_the_line_is_right_in_a_later_block_and_without_a_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candle_files, "_BLOCK_BYTES", 500)
    lines = rows(200)
    lines[150] = "x"

    with pytest.raises(CandleFileUnreadable, match="line 151: "):
        candles_of(put(tmp_path / "bad.csv", "\n".join(lines)))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.csv", b"", "is empty"),
        ("names.csv", b"time,o,h,l,c,v\n1,1,1,1,1,1\n", "the columns must be open_time,open,high,low,close,volume"),
        ("torn.csv.gz", gzip.compress((HEADER + "\n".join(rows(500))).encode())[:-200], "cut off"),
        ("none.csv.gz", b"no gzip", "cut off"),
        ("none.zip", b"no zip", "cut off"),
        ("none.parquet", b"no parquet", "is no parquet file"),
    ],
)
def test_what_is_no_file_of_candles_is_refused(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(CandleFileUnreadable, match=said):
        candles_of(path)


def test_a_zip_with_two_files_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.csv", "")
        archive.writestr("b.csv", "")

    with pytest.raises(CandleFileUnreadable, match="one csv file, it holds 2"):
        candles_of(tmp_path / "two.zip")


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("BTCUSDT-1m-2024-01.zip", FileLabel(exchange="binance", symbol="BTCUSDT", timeframe="1m")),
        ("1000SATSUSDT-15m-2025-01-31.csv", FileLabel(exchange="binance", symbol="1000SATSUSDT", timeframe="15m")),
        ("BTCUSDT-1s-2025-01-31.csv", FileLabel(exchange="binance", symbol="BTCUSDT", timeframe="1s")),
        ("binance-BTCUSDT-1m-2021-04-02_2021-05-14.csv.gz", FileLabel(exchange="binance", symbol="BTCUSDT", timeframe="1m")),
        ("kraken-BTCUSDC-4h.csv", FileLabel(exchange="kraken", symbol="BTCUSDC", timeframe="4h")),
        ("binance-um-AVAXUSDT-1m-2026-06-01_2026-06-30.csv.gz", FileLabel()),
        ("candles.csv", FileLabel()),
    ],
)
def test_a_name_tells_what_is_in_the_file(tmp_path: Path, name: str, label: FileLabel) -> None:
    assert label_of(tmp_path / name) == label


def test_a_folder_stands_for_its_files_in_order(tmp_path: Path) -> None:
    for name in ("b.zip", "a.csv", "notes.txt"):
        (tmp_path / name).write_text("")

    assert [path.name for path in files_in([tmp_path])] == ["a.csv", "b.zip"]
    with pytest.raises(InvalidInput, match="must end with"):
        files_in([tmp_path / "notes.txt"])
    with pytest.raises(InvalidInput, match="no file"):
        files_in([tmp_path / "c.csv"])
    (tmp_path / "inside").mkdir()
    with pytest.raises(InvalidInput, match="no file of candles in"):
        files_in([tmp_path / "inside"])


prices = st.floats(min_value=0, allow_infinity=False, allow_nan=False)


@given(drawn=st.lists(st.tuples(st.integers(1, 50), st.lists(prices, min_size=4, max_size=4), prices), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet"])
def test_what_is_written_is_read_again_bit_by_bit(
    ending: str, tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[int, list[float], float]]
) -> None:
    candles = np.zeros(len(drawn), CANDLE_DTYPE)
    candles["open_time"] = FIRST + 60_000 * np.cumsum([step for step, *_ in drawn])
    for place, (_, four, volume) in enumerate(drawn):
        low, one, other, high = sorted(abs(price) for price in four)  # -0.0 is 0.0 here
        candles[place] = (candles["open_time"][place], one, high, low, other, abs(volume))
    path = tmp_path_factory.mktemp("written") / f"any{ending}"
    label = FileLabel(exchange="binance", symbol="BTC/USDT", timeframe="1m")

    with written(path, label) as append:
        for first in range(0, len(candles), 7):
            append(candles[first : first + 7])

    assert candles_of(path).tobytes() == candles.tobytes()
    assert label_of(path) == (label if ending == ".parquet" else FileLabel())
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_parquet_has_moments_and_floats(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "typed.parquet"

    with written(path, FileLabel(exchange="binance", symbol="BTC/USDT", timeframe="1m")) as append:
        append(EXPECTED)

    schema = pyarrow.read_schema(path)
    assert str(schema.field("open_time").type) == "timestamp[ms, tz=UTC]"
    assert {str(schema.field(name).type) for name in VALUES} == {"double"}


def test_what_breaks_off_leaves_no_file(tmp_path: Path) -> None:
    def breaks() -> None:
        with written(tmp_path / "half.csv", FileLabel()) as append:
            append(EXPECTED)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        breaks()

    assert list(tmp_path.iterdir()) == []


def test_recorded_files_are_read_as_they_are() -> None:
    for name in ("binance-BTCUSDT-1m-2025-06-01_2025-07-01.csv.gz", "kraken-BTCUSDC-1m-2023-01-01_2023-02-28.csv.gz"):
        expected = np.array(candle_rows(name), CANDLE_DTYPE)

        assert candles_of(shared_file(f"candles/{name}")).tobytes() == expected.tobytes()
