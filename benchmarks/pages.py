"""Pages and fragments of a trader with 100,000 orders: server time p50 and p95, bytes on the wire, and a page's whole weight.

    uv run python benchmarks/pages.py [--quick]

The server is a process of its own with the tables of `benchmarks/seeded.py`, the exchange is the emulator, and one client asks over one
connection on loopback, each address in turn. "× bare" is the median beside that of `/healthz`, which does nothing, in the same run: what
HTTP itself costs here. Weight is what a browser loads that has nothing yet, gzipped as it is sent: the page, its stylesheets, modules with
what they import, fonts and icons; the chart library stands apart, since the limit does.

Beside it FreqUI, the pages of freqtrade: revision 7a6dc57 of 2026-08-22 of its public repository, built with its own `vite build`, gzip
level 6: 352 kB before the first page shows, 851 kB with its trade page, of which 419 kB are the chart library.
"""

import argparse
import asyncio
import json
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin
from uuid import UUID

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.core.database_url import DatabaseUrls
from app.core.db import Database
from benchmarks.seeded import seed, settle
from tests.emulator_process import WITHOUT_LIMITS, EmulatorProcess
from tests.postgres import PostgresForTests, connected
from tests.server_process import ServerProcess

ORDERS: Final = 100_000
NAME: Final = "trader"
PASSWORD: Final = "a long sentence for a trader"
PAGE_MS: Final = 50.0
FRAGMENT_MS: Final = 20.0
WEIGHT_KB: Final = 150.0
#: Kilobytes, gzipped; how they were measured stands above.
FREQUI: Final = {"first_page": 352, "trade_page": 851, "of_it_chart_library": 419}
_CHARTS: Final = "lightweight-charts"
PAGES: Final = (
    "/",
    "/trading",
    "/history/orders",
    "/history/attempts",
    "/history/fills",
    "/history/trades",
    "/portfolio",
    "/webhooks",
    "/heartbeat",
    "/brokers",
    "/strategies",
    "/backtests",
    "/backtests/new",
)
FRAGMENTS: Final = (
    "/trading/ticket",
    "/trading/symbols?q=eth&quote=USDT",
    "/history/orders?state=filled",
    "/history/trades?symbol=ETH/BTC",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What one address answered: milliseconds each, bytes as they came and as they are."""

    path: str
    times_ms: Sequence[float]
    sent: int
    size: int

    @property
    def p50(self) -> float:
        """The median in milliseconds."""
        return statistics.median(self.times_ms)

    @property
    def p95(self) -> float:
        """Only one in twenty was slower, in milliseconds."""
        return statistics.quantiles(self.times_ms, n=20)[-1]


async def ask(client: httpx.AsyncClient, path: str, *, times: int, is_fragment: bool) -> Answers:
    """Ask for one address so many times, after three that do not count."""
    headers = {"HX-Request": "true"} if is_fragment else {}
    measured, sent, size = [], 0, 0
    for number in range(times + 3):
        started = time.perf_counter()
        async with client.stream("GET", path, headers=headers) as answer:
            body = await answer.aread()
            sent, size = answer.num_bytes_downloaded, len(body)
        if answer.status_code != 200:
            raise RuntimeError(f"{path} answered {answer.status_code}: {body[:300]!r}")
        if number >= 3:
            measured.append(1000 * (time.perf_counter() - started))
    return Answers(path=path, times_ms=measured, sent=sent, size=size)


async def weight(client: httpx.AsyncClient, path: str) -> dict[str, int]:
    """Return the gzipped bytes that a page needs, by what they are; the chart library under "charts"."""
    found: dict[str, int] = {"page": 0, "css": 0, "js": 0, "font": 0, "icon": 0, "charts": 0}
    waiting, seen = [(path, "page")], {path}
    while waiting:
        address, kind = waiting.pop()
        async with client.stream("GET", address) as answer:
            text = (await answer.aread()).decode("utf-8", errors="replace")
            found["charts" if _CHARTS in address else kind] += answer.num_bytes_downloaded
        for linked, what in _needed(text, kind):
            whole = urljoin(address, linked)
            if whole not in seen:
                seen.add(whole)
                waiting.append((whole, what))
    return found


def _needed(text: str, kind: str) -> list[tuple[str, str]]:
    """What a page, stylesheet or module loads."""
    if kind == "page":
        links = re.findall(r'<link rel="(stylesheet|icon)" href="([^"]+)"', text)
        scripts = re.findall(r'<script src="([^"]+)"', text)
        return [(to, "css" if what == "stylesheet" else "icon") for what, to in links] + [(to, "js") for to in scripts]
    if kind == "css":
        return [(to, "font") for to in re.findall(r"url\(\"?([^)\"]+\.woff2)\"?\)", text)]
    return [(to, "js") for to in re.findall(r'(?:from|import)\s*"(\.[^"]+\.js)"', text)] if kind == "js" else []


async def prepare(client: httpx.AsyncClient, market: EmulatorProcess, urls: DatabaseUrls, orders: int) -> None:
    """Log the client in as somebody with an account and a long history."""
    key, secret = "a" * 64, "b" * 64
    market.open_account(key, secret, {"USDT": "100000", "BTC": "1"})
    (await client.post("/api/auth/register", json={"username": NAME, "password": PASSWORD})).raise_for_status()
    login = await client.post("/api/auth/login", json={"username": NAME, "password": PASSWORD})
    bearer = {"Authorization": f"Bearer {login.json()['access_token']}"}
    given = {"exchange": "binance", "name": "Main", "api_key": key, "api_secret": secret}
    broker = await client.post("/api/brokers", json=given, headers=bearer)
    broker.raise_for_status()
    client.cookies.clear()
    await client.post("/login", data={"username": NAME, "password": PASSWORD})
    database = Database(urls.app)
    await database.open()
    try:
        await seed(database, UUID(login.json()["user"]["id"]), UUID(broker.json()["id"]), orders=orders)
    finally:
        await database.close()
    async with connected(urls.owner) as owner:
        await settle(owner)


async def measure(*, orders: int, times: int) -> dict[str, Any]:
    """Return what was measured."""
    postgres = PostgresForTests()
    await postgres.start()
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            EmulatorProcess("--generate", "BTCUSDT:100", "--generate", "ETHUSDT:50", "--history", "600", *WITHOUT_LIMITS) as market,
        ):
            urls = await postgres.create_database()
            settings: dict[str, Any] = {
                "database_url": urls.app,
                "database_owner_url": urls.owner,
                "binance_rest_url": market.url,
                "binance_stream_url": market.ws_url,
                "registration": "open",
            }
            with ServerProcess(Path(folder) / "data", **settings) as server:
                async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=60) as client:
                    await prepare(client, market, urls, orders)
                    await asyncio.sleep(3)
                    bare = await ask(client, "/healthz", times=times, is_fragment=False)
                    pages = [await ask(client, path, times=times, is_fragment=False) for path in PAGES]
                    fragments = [await ask(client, path, times=times, is_fragment=True) for path in FRAGMENTS]
                    weights = {path: await weight(client, path) for path in PAGES}
    finally:
        await postgres.stop()
    return {"bare": bare, "pages": pages, "fragments": fragments, "weights": weights}


def report(found: dict[str, Any]) -> dict[str, Any]:
    """Write the tables, and return the figures in short."""
    bare: Answers = found["bare"]
    lines = [f"{'address':40} {'p50 ms':>8} {'p95 ms':>8} {'× bare':>7} {'sent kB':>8} {'HTML kB':>8}"]
    for answers in (bare, *found["pages"], *found["fragments"]):
        times = f"{answers.p50:8.1f} {answers.p95:8.1f} {answers.p50 / bare.p50:7.1f}"
        lines.append(f"{answers.path:40} {times} {answers.sent / 1000:8.1f} {answers.size / 1000:8.1f}")
    lines += ["", f"{'loaded by the first visit, kB gzipped':40} {'without charts':>15} {'charts':>8}"]
    totals = {}
    for path, parts in found["weights"].items():
        totals[path] = (sum(parts.values()) - parts["charts"]) / 1000
        lines.append(f"{path:40} {totals[path]:15.1f} {parts['charts'] / 1000:8.1f}")
    apart = FREQUI["trade_page"] - FREQUI["of_it_chart_library"]
    lines.append(f"{'FreqUI 7a6dc57, trade page':40} {apart:15.1f} {FREQUI['of_it_chart_library']:8.1f}")
    sys.stdout.write("\n".join(lines) + "\n")
    slowest = {kind: max(answers.p95 for answers in found[kind]) for kind in ("pages", "fragments")}
    return {
        "page_p95_ms": round(slowest["pages"], 1),
        "fragment_p95_ms": round(slowest["fragments"], 1),
        "heaviest_page_kb_gz": round(max(totals.values()), 1),
        "heaviest_page_with_charts_kb_gz": round(max(sum(parts.values()) for parts in found["weights"].values()) / 1000, 1),
        "frequi_ratio": round(apart / totals["/trading"], 2),
        "is_within": slowest["pages"] <= PAGE_MS and slowest["fragments"] <= FRAGMENT_MS and max(totals.values()) <= WEIGHT_KB,
    }


def main() -> None:
    """Print the tables and the figures in short."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="5,000 orders and 20 requests instead of 100,000 and 200")
    is_quick = parser.parse_args().quick
    found = asyncio.run(measure(orders=5_000 if is_quick else ORDERS, times=20 if is_quick else 200))
    sys.stdout.write(json.dumps(report(found)) + "\n")


if __name__ == "__main__":
    main()
