"""`aristobot candles` as people run it: a process of its own, on the database of a server."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from typer.testing import CliRunner

from app.candles_cli import candles_cli
from app.core.database_url import DatabaseUrls
from app.errors import InvalidInput, SymbolNotFound
from tests.emulator_process import WITHOUT_LIMITS, EmulatorProcess, steps, write_candles
from tests.environment import kept_environment
from tests.postgres import connected

COUNT = "SELECT count(*), extract(epoch FROM max(open_time) - min(open_time))::int / 60 + 1 AS span FROM candles"
PATIENCE_S = 90


class Commands:
    """Runs `aristobot candles …` with the settings of a server."""

    def __init__(self, urls: DatabaseUrls, folder: Path) -> None:
        self.folder = folder
        self.urls = urls
        self.settings = {"DATABASE_URL": urls.app, "DATABASE_OWNER_URL": urls.owner, "DATA_DIR": str(folder / "data")}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """In a process of its own."""
        command = [sys.executable, "-m", "app.cli", "candles", *arguments]
        return subprocess.Popen(
            command, cwd=self.folder, env=kept_environment() | self.settings, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    async def run(self, *arguments: str) -> str:
        """Here, which takes a tenth of the time."""
        result = await asyncio.to_thread(lambda: CliRunner().invoke(candles_cli, arguments, env=self.settings))
        if result.exception is not None:
            raise result.exception
        return result.stdout


@pytest_asyncio.fixture
async def commands(emptied_urls: DatabaseUrls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Commands]:
    monkeypatch.chdir(tmp_path)  # where no .env is
    monkeypatch.setattr("app.candles_cli.configure_logging", lambda **_: None)  # the tests' own stays
    yield Commands(emptied_urls, tmp_path)


async def counted(urls: DatabaseUrls) -> Any:
    async with connected(urls.owner) as owner:
        return await owner.fetchrow(COUNT)


@pytest.mark.asyncio
async def test_a_backfill_is_stopped_by_ctrl_c_and_goes_on_where_it_was(commands: Commands) -> None:
    start = f"{datetime.now(UTC) - timedelta(minutes=6_000):%Y-%m-%dT%H:%M}"  # noqa: TID251  # the emulator's own
    what = ("backfill", "--exchange", "binance", "--symbol", "BTCUSDT", "--timeframe", "1m", "--start", start)
    with EmulatorProcess("--generate", "BTCUSDT:60000", "--history", "6000", "--paused", *WITHOUT_LIMITS) as emulator:
        commands.settings["BINANCE_REST_URL"] = emulator.url
        emulator.fault("delay", method="GET", path="/api/v3/klines", delay_ms=1_000, times=1_000)
        process = commands.start(*what)
        deadline = time.monotonic() + PATIENCE_S
        while (await counted(commands.urls))["count"] < 1_000 and time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()
            await asyncio.sleep(0.05)  # asking without a pause takes a core from the process that is waited for
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=PATIENCE_S)[0]
        had = (await counted(commands.urls))["count"]
        emulator.control("DELETE", "/_fault")
        on = await commands.run(*what)

    assert process.returncode == 130, said
    assert "Stopped. What came so far is stored; the same command goes on from there." in said
    assert "Traceback" not in said
    count, span = await counted(commands.urls)
    assert 1_000 <= had < count == span
    assert count >= 5_990
    assert f"BTC/USDT 1m: {count - had:,} candles stored" in on


@pytest.mark.asyncio
async def test_what_cannot_be_done_is_said_in_a_sentence(commands: Commands, standing_emulator: EmulatorProcess) -> None:
    commands.settings["BINANCE_REST_URL"] = standing_emulator.url
    rest = ("--timeframe", "1m", "--start", "2024-01-01")
    odd = write_candles(commands.folder / "candles.csv", steps([1.0, 2.0, 3.0]))

    process = commands.start("backfill", "--exchange", "nope", "--symbol", "BTC/USDT", *rest)
    said = process.communicate(timeout=PATIENCE_S)[0]

    assert (process.returncode, said.strip()) == (1, "aristobot: there is no exchange called 'nope'")
    with pytest.raises(SymbolNotFound, match="NOPE/USDT is not listed at binance"):
        await commands.run("backfill", "--exchange", "binance", "--symbol", "NOPE/USDT", *rest)
    with pytest.raises(InvalidInput, match="paper accounts trade at the prices of binance"):
        await commands.run("backfill", "--exchange", "paper", "--symbol", "BTC/USDT", *rest)
    with pytest.raises(InvalidInput, match=r"the name of candles\.csv does not tell its exchange: give --exchange"):
        await commands.run("import", str(odd))
    with pytest.raises(InvalidInput, match="XYZABC could be cut in several ways"):
        await commands.run("import", str(odd), "--exchange", "binance", "--symbol", "XYZABC", "--timeframe", "1m")


@pytest.mark.asyncio
async def test_a_folder_goes_in_is_listed_and_comes_out_again(commands: Commands) -> None:
    inside = commands.folder / "archive"
    inside.mkdir()
    rows = steps([float(price) for price in range(100, 400)])
    write_candles(inside / "BTCUSDT-1m-2023-11-14.csv", rows[:150])
    write_candles(inside / "BTCUSDT-1m-2023-11-15.csv", [*rows[150:200], *rows[210:]])
    out = commands.folder / "out.parquet"
    what = ("--exchange", "binance", "--symbol", "BTC/USDT", "--timeframe", "1m")

    nothing = await commands.run("list")
    taken = await commands.run("import", str(inside))
    listed = await commands.run("list")
    written = await commands.run("export", *what, "--out", str(out))
    with pytest.raises(InvalidInput, match="--force writes over it"):
        await commands.run("export", *what, "--out", str(out))
    with pytest.raises(InvalidInput, match=r"must end with \.csv or \.csv\.gz"):
        await commands.run("export", *what, "--out", str(out), "--format", "csv", "--force")
    again = await commands.run("import", str(out))

    assert nothing == "No candle is stored.\n"

    assert "BTCUSDT-1m-2023-11-14.csv: BTC/USDT 1m of binance, 2023-11-14 22:14 to 2023-11-15 00:43: 150 rows, 150 new, 0 changed" in taken
    assert "1 hole of 10 candles: 2023-11-15 01:34 to 2023-11-15 01:44" in taken
    assert listed.splitlines()[1].split() == [
        "binance", "BTC/USDT", "1m", "2023-11-14", "22:14", "2023-11-15", "03:12", "289", "1",
    ]  # fmt: skip
    assert "289 candles of BTC/USDT 1m" in written
    assert "289 rows, 0 new, 0 changed" in again
