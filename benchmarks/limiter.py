"""What the limiter costs a request that need not wait, and a hundred that do.

uv run python benchmarks/limiter.py
"""

import asyncio
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.domain.enums import Lane
from app.errors import AppError
from app.exchanges.budgets import Budget, Kind, budgets_of, order_count, weight_of
from app.exchanges.gate import _counts
from app.exchanges.limiter import Limiter

ROUNDS = 50_000
WAITERS = 100
HEADERS = {
    "Content-Type": "application/json", "Date": "Wed, 25 Nov 2026 08:00:00 GMT", "Server": "nginx", "Connection": "keep-alive",
    "x-mbx-used-weight-1m": "7", "x-mbx-order-count-10s": "1", "x-mbx-order-count-1d": "1",
}  # fmt: skip


async def per_request_us(budgets: Iterable[Budget], *, with_headers: bool) -> float:
    """Return microseconds of CPU that one order spends in the limiter."""
    limiter = Limiter("Binance", [replace(budget, limit=10**9) for budget in budgets])
    begun = time.process_time()
    for _ in range(ROUNDS):
        weight, orders = weight_of("binance", "POST", "order", {}), order_count("binance", "order")
        deadline = time.monotonic() + 4
        async with limiter.slot(lane=Lane.ENTRY, weight=weight, orders=orders, kind=Kind.PLACE, account="a", deadline=deadline) as slot:
            if with_headers:
                slot.observe(_counts(HEADERS))
    return (time.process_time() - begun) / ROUNDS * 1e6


async def waiting_cpu_ms() -> float:
    """Return milliseconds of CPU that `WAITERS` waiting requests use in a second, whatever else an idle event loop does included."""
    limiter = Limiter("Binance", [replace(budgets_of("binance", rate_limit_ms=50)[0], limit=1)])

    async def wait() -> None:
        with suppress(AppError):
            async with limiter.slot(lane=Lane.RECONCILE, deadline=time.monotonic() + 1.5):
                pass

    async with limiter.slot(lane=Lane.PROTECTIVE), asyncio.TaskGroup() as group:
        for _ in range(WAITERS):
            group.create_task(wait())
        await asyncio.sleep(0.2)
        begun = time.process_time()
        await asyncio.sleep(1)
        return (time.process_time() - begun) * 1000


async def run() -> None:
    binance = budgets_of("binance", rate_limit_ms=50)
    print(f"no limit (an emulator):            {await per_request_us((), with_headers=False):6.1f} µs a request")
    print(f"Binance's four budgets:            {await per_request_us(binance, with_headers=False):6.1f} µs a request")
    print(f"the same, reading its own count:   {await per_request_us(binance, with_headers=True):6.1f} µs a request")
    print(f"{WAITERS} requests that wait:          {await waiting_cpu_ms():6.1f} ms of CPU in a second")


if __name__ == "__main__":
    asyncio.run(run())
