import csv
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest

from app.backtests import export
from app.backtests.export import ExportKind, exported, file_name
from app.backtests.export_html import MOST_TRADES
from app.backtests.export_run import ExportedRun
from app.backtests.report import Report, make_report
from app.domain.metrics_trades import trade_returns
from app.domain.outcome import REASONS
from app.errors import FileTooLarge
from tests.backtests.runs import COSTS, HOUR_MS, candles_like, exported_like, header
from tests.domain.equity_curves import NEW_YEAR_MS, outcome_with

#: Without types of its own, and loaded where it is used only.
parquet = pytest.importorskip("pyarrow.parquet")
NASTY = "=1+1 <script>alert(1)</script> \"'&{{ 7 * 7 }}"


@pytest.fixture(scope="module")
def run() -> ExportedRun:
    return exported_like(start=50)


def table(run: ExportedRun, kind: ExportKind) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(exported(run, kind).decode())))


def empty_run(rows: int = 5) -> ExportedRun:
    outcome, candles = outcome_with(np.full(rows, 10_000.0)), candles_like(1, rows)
    report = make_report(outcome, candles, COSTS, timeframe_ms=HOUR_MS)
    return ExportedRun(
        header=header(), report=report, trades=outcome.trades, fills=outcome.fills, times=candles.time, equity=outcome.equity
    )


def test_trades_in_csv_are_the_engines_to_the_last_digit(run: ExportedRun) -> None:
    rows = table(run, ExportKind.TRADES_CSV)
    assert len(rows) == len(run.trades) > 30
    for name in ("quantity", "entry_price", "exit_price", "fees", "slippage", "funding", "profit", "worst", "best"):
        assert [float(row[name]) for row in rows] == getattr(run.trades, name).tolist(), name
    assert [float(row["profit_fraction"]) for row in rows] == trade_returns(run.trades).tolist()
    assert not any("e" in row["quantity"] for row in rows)
    first = rows[0]
    assert (first["backtest"], first["strategy"], first["symbol"], first["number"]) == ("142", "EMA Cross", "BTC/USDT", "1")
    entered = NEW_YEAR_MS + int(run.trades.entry_candle[0]) * HOUR_MS
    assert np.datetime64(first["entry_at"].rstrip("Z"), "ms").astype(int) == entered
    assert {row["side"] for row in rows} == {"long", "short"}
    assert {row["reason"] for row in rows} <= {reason.value for reason in REASONS} | {""}


def test_equity_in_csv_begins_at_the_first_decision(run: ExportedRun) -> None:
    rows = table(run, ExportKind.EQUITY_CSV)
    assert [float(row["equity"]) for row in rows] == run.equity[50:].tolist()
    assert rows[0]["closed_at"] == "2024-01-03T03:00:00Z"
    assert max(float(row["drawdown"]) for row in rows) == pytest.approx(run.report.kpis.max_drawdown)


def test_fills_in_csv_add_up_to_the_fees(run: ExportedRun) -> None:
    rows = table(run, ExportKind.FILLS_CSV)
    assert sum(float(row["fee"]) for row in rows) == pytest.approx(float(run.report.costs.fees))
    assert sum(float(row["notional"]) for row in rows) == pytest.approx(float(run.report.costs.turnover))
    assert {row["side"] for row in rows} == {"buy", "sell"}


def test_a_name_that_a_spreadsheet_takes_for_a_formula_is_defused() -> None:
    run = exported_like(rows=500, strategy=NASTY, symbol="@SUM(A1)/USDT")
    for kind in (ExportKind.TRADES_CSV, ExportKind.FILLS_CSV):
        cells = [value for row in table(run, kind) for value in row.values()]
        dangerous = [cell for cell in cells if cell.startswith(("=", "+", "@", "\t", "\r")) or re.match(r"-(?![\d.]+$)", cell)]
        assert dangerous == []
    assert table(run, ExportKind.TRADES_CSV)[0]["strategy"] == f"'{NASTY}"


def test_json_has_the_header_the_report_and_every_trade(run: ExportedRun) -> None:
    whole = json.loads(exported(run, ExportKind.JSON))
    assert (whole["format"], whole["version"]) == ("aristobot.backtest", 1)
    assert whole["header"]["candles_sha256"] == "ab" * 32
    assert whole["header"]["capital"] == "10000"
    assert [float(trade["profit"]) for trade in whole["trades"]] == run.trades.profit.tolist()
    assert whole["trades"][0]["number"] == 1
    assert isinstance(whole["trades"][0]["profit"], str)
    assert isinstance(whole["trades"][0]["worst"], float)
    assert len(whole["fills"]) == len(run.fills)
    assert msgspec.convert(whole["report"], Report) == run.report


def test_parquet_gives_the_columns_back_bit_for_bit(run: ExportedRun) -> None:
    read = parquet.read_table(io.BytesIO(exported(run, ExportKind.TRADES_PARQUET)))
    for name in ("quantity", "entry_price", "exit_price", "fees", "profit", "worst", "best"):
        assert np.array_equal(read[name].to_numpy(), getattr(run.trades, name)), name
    assert str(read.schema.field("entry_at").type) == "timestamp[ms, tz=UTC]"
    assert json.loads(read.schema.metadata[b"aristobot.backtest"])["number"] == 142
    equity = parquet.read_table(io.BytesIO(exported(run, ExportKind.EQUITY_PARQUET)))
    assert np.array_equal(equity["equity"].to_numpy(), run.equity[50:])
    fills = parquet.read_table(io.BytesIO(exported(run, ExportKind.FILLS_PARQUET)))
    assert np.array_equal(fills["price"].to_numpy(), run.fills.price)


class Page(HTMLParser):
    """What a browser would load, run or be told."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text: list[str] = []
        self.events: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [f"{name}={value}" for name, value in attrs if name in ("src", "href", "srcset", "action", "poster", "data")]
        self.events += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def page_of(run: ExportedRun, language: str = "en") -> tuple[Page, str]:
    html = exported(run, ExportKind.HTML, language=language).decode()
    page = Page()
    page.feed(html)
    page.close()
    return page, html


def test_the_html_report_asks_for_nothing_and_runs_nothing(run: ExportedRun) -> None:
    page, html = page_of(run)
    assert (page.addresses, page.events) == ([], [])
    assert not {"script", "link", "img", "iframe", "object", "embed", "form", "video", "audio"} & set(page.tags)
    assert not re.search(r"url\(|@import|https?://", html)
    assert "default-src 'none'" in html
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html


def test_what_strangers_wrote_is_text_in_the_html_report() -> None:
    page, html = page_of(exported_like(rows=500, strategy=NASTY, note=NASTY, parameters={NASTY: NASTY}))
    assert "<script" not in html
    assert "{{ 7 * 7 }}" in html
    assert NASTY in "".join(page.text)


def test_the_html_report_is_well_formed_and_says_what_its_pictures_show(run: ExportedRun) -> None:
    _, html = page_of(run)
    pictures = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert len(pictures) == 3
    for picture in pictures:
        drawn = ElementTree.fromstring(picture)
        assert (drawn.get("role"), bool(drawn.get("aria-label"))) == ("img", True)
        assert "nan" not in picture.lower().replace("nance", "")


@pytest.mark.parametrize(("language", "words"), [("en", "Quality checks"), ("fr", "Contrôles de qualité"), ("xx", "Quality checks")])
def test_the_html_report_speaks_its_readers_language(run: ExportedRun, language: str, words: str) -> None:
    page, html = page_of(run, language)
    assert words in "".join(page.text)
    assert f'<html lang="{"en" if language == "xx" else language}">' in html


def test_the_html_report_lists_the_last_trades_and_says_how_many_there_are() -> None:
    run = exported_like(rows=40_000)
    assert len(run.trades) > MOST_TRADES
    page, _ = page_of(run)
    assert f"The last {MOST_TRADES} of {len(run.trades)}" in "".join(page.text)


@pytest.mark.parametrize("kind", ExportKind)
@pytest.mark.parametrize("rows", [1, 5])
def test_a_run_without_trades_has_files_too(kind: ExportKind, rows: int) -> None:
    made = exported(empty_run(rows), kind)
    assert made
    if kind.value.endswith(".csv"):
        assert len(made.decode().splitlines()) == 1 + (rows if kind is ExportKind.EQUITY_CSV else 0)


@pytest.mark.parametrize("kind", ExportKind)
def test_names_of_files_suit_every_file_system(kind: ExportKind) -> None:
    name = file_name(header(symbol="BTC/USDT:USDT"), kind)
    assert re.fullmatch(r"backtest-142-[A-Za-z0-9]+-1h\.[a-z.]+", name)
    assert "/" in kind.media_type


def test_making_files_does_not_load_what_only_parquet_needs() -> None:
    asked = "import sys, app.backtests.export; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0


@pytest.mark.parametrize("kind", [ExportKind.JSON, ExportKind.TRADES_CSV, ExportKind.FILLS_CSV, ExportKind.EQUITY_CSV])
def test_a_file_is_written_in_pieces_that_nobody_sees(run: ExportedRun, kind: ExportKind, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = exported(run, kind)
    monkeypatch.setattr(export, "_PIECE", 7)
    assert exported(run, kind) == whole


@pytest.mark.parametrize("kind", [ExportKind.JSON, ExportKind.TRADES_CSV, ExportKind.EQUITY_CSV])
def test_a_file_of_millions_of_rows_is_refused_before_it_fills_the_memory(
    run: ExportedRun, kind: ExportKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "MOST_BYTES", 10_000)
    monkeypatch.setattr(export, "_PIECE", 50)
    with pytest.raises(FileTooLarge, match="Take it as parquet"):
        exported(run, kind)
