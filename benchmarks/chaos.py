"""Random faults and kill points against real engine processes: what was intended, what the exchange has, doubled, lost, and the audit.

    uv run python benchmarks/chaos.py [--runs 1000] [--lanes 24] [--seed 1] [--quick]

Each run breaks up to three things on the wire (requests and replies dropped, late, truncated, refused, hidden), and kills the engine with
SIGKILL at a random step of the protocol or a random moment, or freezes it until another has taken its role. Then a fresh engine settles
what was left, and every order, fill and balance is compared with the exchange's own books. A run that is repeated by its seed is the same
plan; the moments are the machine's. Lanes work side by side, each on a database and an exchange of its own: an order that never arrived
takes twenty seconds to be given up.
"""

import argparse
import asyncio
import json
import os
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import ccxt.async_support  # noqa: F401  # before the forks, so that each engine finds it loaded

from benchmarks.chaos_lane import Lane, work
from tests.emulator_process import WITHOUT_LIMITS, EmulatorProcess
from tests.postgres import PostgresForTests


async def _databases(server: PostgresForTests, count: int) -> list[Any]:
    await server.start()
    return [await server.create_database() for _ in range(count)]


def run(*, runs: int, lanes: int, seed: int) -> dict[str, Any]:
    """Do the runs and return the sum of all lanes."""
    server = PostgresForTests()
    try:
        urls = asyncio.run(_databases(server, lanes))
        shares = [runs // lanes + (number < runs % lanes) for number in range(lanes)]
        readers = [_start(number, seed, urls[number], share) for number, share in enumerate(shares) if share]
        return _sum(_watch(readers, runs))
    finally:
        asyncio.run(server.stop())


def _start(number: int, seed: int, urls: Any, runs: int) -> tuple[int, int]:
    """Start a lane as a process of its own; return its id and the end of the pipe that its tallies come through."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    code = 1
    try:
        os.close(reading)
        # An exchange of its own: another lane's market must not fill this one's orders while its books are compared.
        with os.fdopen(writing, "w", buffering=1) as out, _exchange() as emulator:
            lane = Lane(number=number, seed=seed, urls=urls, emulator_url=emulator.url)
            work(lane, runs, lambda line: print(line, file=out))
        code = 0
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        os._exit(code)


def _exchange() -> EmulatorProcess:
    return EmulatorProcess("--generate", "BTCUSDT:60000", "--paused", *WITHOUT_LIMITS, start_timeout_s=120.0)


def _watch(lanes: list[tuple[int, int]], runs: int) -> list[dict[str, Any]]:
    """Read the lanes' tallies until all have ended; say now and then how far they are."""
    latest: dict[int, dict[str, Any]] = {}
    streams = {pid: os.fdopen(reading) for pid, reading in lanes}
    told = time.monotonic()
    for pid, stream in streams.items():
        for line in stream:
            latest[pid] = json.loads(line)
            if time.monotonic() - told > 20:
                told = time.monotonic()
                print(f"… {sum(tally['runs'] for tally in latest.values())} of {runs} runs or more", file=sys.stderr)
    for pid in streams:
        _, status = os.waitpid(pid, 0)
        if status:
            raise SystemExit(f"a lane ended with status {status}")
    return list(latest.values())


def _sum(tallies: list[dict[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {}
    faults: Counter[str] = Counter()
    for tally in tallies:
        faults.update(tally.pop("faults"))
        for name, value in tally.items():
            total[name] = total[name] + value if name in total else value
    return {**total, "faults": dict(faults)}


def show(total: dict[str, Any]) -> bool:
    """Print the table and the last line; return whether nothing was doubled or lost and the audit is clean."""
    for note in [*total["notes"], *total["audit"]]:
        print(note)
    faults = ", ".join(f"{name} {count}" for name, count in sorted(total["faults"].items()))
    print(f"{'runs':>8}{'intended':>10}{'at venue':>10}{'doubled':>10}{'lost':>8}{'kills':>8}{'freezes':>9}  audit")
    verdict = "clean" if not total["audit"] else f"{len(total['audit'])} findings"
    columns = (total["runs"], total["intended"], total["at_venue"], total["doubled"], total["lost"], total["kills"], total["freezes"])
    print("".join(f"{value:>{width}}" for value, width in zip(columns, (8, 10, 10, 10, 8, 8, 9), strict=True)) + f"  {verdict}")
    print(f"faults: {faults}")
    names = ("runs", "intended", "at_venue", "doubled", "lost", "kills", "freezes")
    print(json.dumps({**{name: total[name] for name in names}, "audit": verdict}))
    return not total["doubled"] + total["lost"] and verdict == "clean"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--lanes", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="a small run, within a minute")
    given = parser.parse_args()
    if given.quick:
        given.runs, given.lanes = 6, 6
    sys.exit(0 if show(run(runs=given.runs, lanes=min(given.lanes, given.runs), seed=given.seed)) else 1)
