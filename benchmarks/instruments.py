"""Search and quote filters over 50,000 symbols of one exchange through the HTTP API, beside a bare SELECT with the same filters.

    uv run python benchmarks/instruments.py [--quick]

The server is a process of its own and answers pages of 100 symbols with all their rules to a logged-in client that asks one question
after the other; the SELECT is asked by asyncpg on a connection that is open, returns the same columns and becomes no JSON. Both are asked
the same questions in turn. Ours puts what begins with the text first, the SELECT does not. The private PostgreSQL has no pg_trgm: a text
somewhere in a symbol makes it read rows until the page is full, all of them where few match.
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.core.database_url import DatabaseUrls
from app.core.embedded_postgres import EmbeddedPostgres
from app.core.migrate import upgrade
from app.domain.instruments import plain
from tests.server_process import ServerProcess

ROWS: Final = 50_000
PAGE: Final = 100
QUOTES: Final = ("USDT", "USDT", "USDT", "USDC", "BTC", "ETH", "EUR", "FDUSD", "TRY", "BNB")
_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_COLUMNS: Final = (
    "symbol, base, quote, is_active, tick_size, step_size, min_quantity, max_quantity, min_price, max_price, min_notional, max_notional"
)
_FILL: Final = """
INSERT INTO instruments (id, exchange, symbol, type, base, quote, is_active, tick_size, step_size, min_quantity, max_quantity, min_price,
  max_price, min_notional, max_notional, raw_info, last_updated)
SELECT gen_random_uuid(), 'binance', base || '/' || quote, 'spot', base, quote, true, 0.0001, 0.001, 0.001, 9000, 0.0001, 1000, 5, 9000000,
  '{}', now() FROM unnest($1::text[], $2::text[]) AS new (base, quote)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked for: part of a symbol, a quote asset, both or neither."""

    search: str = ""
    quote: str = ""

    @property
    def params(self) -> dict[str, str]:
        """The API's parameters."""
        return {"limit": str(PAGE)} | {name: value for name in ("search", "quote") if (value := getattr(self, name))}

    @property
    def sql(self) -> tuple[str, list[str]]:
        """The SELECT and its values."""
        values = [value for value in (self.quote, f"%{self.search}%" if self.search else "") if value]
        where = "exchange = 'binance' AND is_active" + (" AND quote = $1" if self.quote else "")
        if self.search:
            where += f" AND (symbol LIKE ${len(values)} OR replace(symbol, '/', '') LIKE ${len(values)})"
        return f"SELECT {_COLUMNS} FROM instruments WHERE {where} ORDER BY symbol LIMIT {PAGE}", values  # constants


@dataclass(slots=True)
class Times:
    """Milliseconds of one kind of question, ours and the SELECT's."""

    ours: list[float] = field(default_factory=list)
    select: list[float] = field(default_factory=list)


def symbols(chance: random.Random) -> Iterator[tuple[str, str]]:
    """Yield pairs as exchanges list them: bases of three to six letters, some with a thousand before them."""
    seen: set[tuple[str, str]] = set()
    while len(seen) < ROWS:
        base = "".join(chance.choices(_LETTERS, k=chance.randint(3, 6)))
        pair = (f"1000{base}" if chance.random() < 0.02 else base, chance.choice(QUOTES))
        if pair not in seen:
            seen.add(pair)
            yield pair


def questions(chance: random.Random) -> dict[str, Callable[[], Question]]:
    """Return each kind of question: one to four letters as they are typed, a quote asset, both, neither."""

    def letters() -> str:
        return "".join(chance.choices(_LETTERS, k=chance.randint(1, 4)))

    return {
        "unfiltered": Question,
        "search": lambda: Question(search=letters()),
        "quote": lambda: Question(quote=chance.choice(QUOTES)),
        "search and quote": lambda: Question(search=letters(), quote=chance.choice(QUOTES)),
        "in the middle": lambda: Question(search=chance.choice(("USDT", "SDT", "TBTC", "U", "ZZZZZ"))),
    }


async def fill(url: str, chance: random.Random) -> None:
    """Store the symbols."""
    connection = await asyncpg.connect(url)
    pairs = list(symbols(chance))
    await connection.execute(_FILL, *([pair[part] for pair in pairs] for part in (0, 1)))
    await connection.execute("ANALYZE instruments")
    await connection.close()


async def ask(http: httpx.AsyncClient, connection: Any, question: Question, times: Times) -> None:
    """Ask both, and compare how much they found."""
    sql, values = question.sql
    started = time.perf_counter()
    answer = await http.get("/api/symbols", params=question.params)
    times.ours.append((time.perf_counter() - started) * 1000)
    started = time.perf_counter()
    rows = await connection.fetch(sql, *values)
    times.select.append((time.perf_counter() - started) * 1000)
    found = answer.json()["items"]
    if answer.status_code != 200 or len(found) != len(rows):
        raise SystemExit(f"{question} was answered with {answer.status_code} and {len(found)} symbols, the table has {len(rows)}")
    if (
        found
        and not question.search
        and [(item["symbol"], item["tick_size"]) for item in found]
        != [(row["symbol"], plain(row["tick_size"])) for row in sorted(rows, key=lambda row: str(row["symbol"]))]
    ):
        raise SystemExit(f"{question} was answered with other symbols than the table has")


async def measure(url: str, token: str, database: str, *, count: int, chance: random.Random) -> dict[str, Times]:
    """Return the times of every kind of question."""
    found: dict[str, Times] = {}
    connection = await asyncpg.connect(database)
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False, headers=headers) as http:
        started = time.perf_counter()
        await http.get("/api/symbols")
        print(f"the first question reads the table: {(time.perf_counter() - started) * 1000:.0f} ms")
        for kind, make in questions(chance).items():
            for _ in range(min(count, 20)):
                await ask(http, connection, make(), Times())
            times = found[kind] = Times()
            for _ in range(count):
                await ask(http, connection, make(), times)
    await connection.close()
    return found


def percentile(sample: list[float], share: float) -> float:
    """Return the value that `share` of the sample does not exceed."""
    ordered = sorted(sample)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def show(found: dict[str, Times]) -> dict[str, object]:
    """Print a line for each kind of question, and return the figures."""
    print(f"{'question':18} {'p50 ms':>8} {'p99 ms':>8} {'SELECT p50':>11} {'p99':>7} {'ratio p50':>10}")
    figures: dict[str, object] = {"rows": ROWS}
    for kind, times in found.items():
        ours, select = statistics.median(times.ours), statistics.median(times.select)
        worst, worst_select = percentile(times.ours, 0.99), percentile(times.select, 0.99)
        print(f"{kind:18} {ours:8.2f} {worst:8.2f} {select:11.2f} {worst_select:7.2f} {ours / select:10.2f}")
        name = kind.replace(" ", "_")
        figures |= {f"{name}_p50_ms": round(ours, 2), f"{name}_p99_ms": round(worst, 2), f"{name}_ratio": round(ours / select, 2)}
    return figures


async def with_database(folder: Path, count: int) -> dict[str, object]:
    """Start PostgreSQL and the server, fill, and measure."""
    chance = random.Random(20261125)
    postgres = EmbeddedPostgres(folder / "postgres-data")
    urls: DatabaseUrls = await postgres.start()
    try:
        await upgrade(urls.owner, app_role=urls.app_role)
        await fill(urls.owner, chance)
        server = ServerProcess(folder / "data", database_url=urls.app, database_owner_url=urls.owner, roles="web,engine")
        await asyncio.to_thread(server.start)
        try:
            client = await asyncio.to_thread(server.client)
            token = client.headers["Authorization"].removeprefix("Bearer ")
            client.close()
            return show(await measure(server.url, token, urls.app, count=count, chance=chance))
        finally:
            await asyncio.to_thread(server.stop)
    finally:
        await postgres.stop()


def main() -> None:
    """Run it and print one line of JSON last."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="few questions: shows that it runs, not how fast")
    is_quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory(prefix="aristobot-bench-") as folder:
        # Root's server cannot pass through a folder that is root's alone.
        Path(folder).chmod(0o711)
        print(json.dumps(asyncio.run(with_database(Path(folder), 20 if is_quick else 1000))))


if __name__ == "__main__":
    main()
