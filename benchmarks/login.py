"""Guessing passwords at a running server: what it costs the guesser, and what it costs everybody else.

    uv run python benchmarks/login.py [--quick]

First the time of a refusal, of a name that exists and of one that does not, in turn, each from an address of its own behind a proxy, so
that nobody waits; their difference is tested (Welch): |t| below 3 means that the answers cannot be told apart by their time. Then attempts
from one address as fast as 16 connections make them, while another user logs in again and again from elsewhere. Last the same guesses from
a thousand addresses. Aims: |t| below 3, hardly a guess of one address judged, the other user's login below 1 s at p99. A full run ends with
an error when one is missed; a quick one shows only that it runs.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.server_process import ADMIN, PASSWORD, ServerProcess

GUESSERS = 16
_LOGIN = "/api/auth/login"


async def attempt(http: httpx.AsyncClient, name: str, password: str, address: str) -> tuple[int, float]:
    """Return the status of a login and how many milliseconds it took."""
    started = time.perf_counter()
    answer = await http.post(_LOGIN, json={"username": name, "password": password}, headers={"X-Forwarded-For": address})
    return answer.status_code, (time.perf_counter() - started) * 1000


async def refusals(http: httpx.AsyncClient, pairs: int) -> dict[str, list[float]]:
    """Return the times of refusals in milliseconds, of a known name and of an unknown one, in turn."""
    found: dict[str, list[float]] = {"known": [], "unknown": []}
    for number in range(pairs):
        for kind in ("known", "unknown") if number % 2 else ("unknown", "known"):
            # A fresh account of the name's counter every few attempts: who must wait is refused without a look at the password.
            name = f"bench-{number // 4}" if kind == "known" else f"nobody-{number // 4}"
            status, took = await attempt(http, name, "a wrong password", f"10.1.{number // 200}.{number % 200}")
            if status != 401:
                raise SystemExit(f"a refusal was answered with {status}")
            found[kind].append(took)
    return found


def welch_t(left: list[float], right: list[float]) -> float:
    """Return Welch's t of two samples, without the slowest twentieth of each: those are this machine's."""
    cut = [sorted(sample)[: round(len(sample) * 0.95)] for sample in (left, right)]
    means, variances = [statistics.mean(sample) for sample in cut], [statistics.variance(sample) / len(sample) for sample in cut]
    return float((means[0] - means[1]) / sum(variances) ** 0.5)


async def guess(http: httpx.AsyncClient, attempts: int, *, addresses: int) -> tuple[dict[int, int], float, list[float]]:
    """Return the answers to that many guesses by status, how many seconds they took, and another user's logins meanwhile in ms."""
    answers: dict[int, int] = {}
    left = attempts
    took: list[float] = []

    async def guesser() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            number = left % addresses
            status, _ = await attempt(http, f"bench-{left % 50}", f"guess {left}", f"10.9.{number // 250}.{number % 250}")
            answers[status] = answers.get(status, 0) + 1

    async def other() -> None:
        while left > 0:
            status, milliseconds = await attempt(http, ADMIN, PASSWORD, "10.2.2.2")
            if status != 200:
                raise SystemExit(f"the other user was answered with {status}")
            took.append(milliseconds)
            await asyncio.sleep(0.1)

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        group.create_task(other())
        for _ in range(GUESSERS):
            group.create_task(guesser())
    return answers, time.perf_counter() - started, took


async def measure(url: str, *, pairs: int, attempts: int) -> dict[str, float]:
    """Return all figures."""
    limits = httpx.Limits(max_connections=GUESSERS + 4)
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False, limits=limits) as http:
        for number in range(max(pairs // 4, 50)):
            await http.post("/api/auth/register", json={"username": f"bench-{number}", "password": f"sentence of bench {number}"})
        times = await refusals(http, pairs)
        answers, seconds, others = await guess(http, attempts, addresses=1)
        spread, _, beside = await guess(http, attempts // 5, addresses=1000)
    slowest, slowest_beside = (sorted(times)[-max(len(times) // 100, 1)] for times in (others, beside))
    print(f"{'refusal':24} {'p50 ms':>8}\n{'known name':24} {statistics.median(times['known']):8.1f}")
    print(f"{'unknown name':24} {statistics.median(times['unknown']):8.1f}")
    print(f"{attempts} guesses: {answers}, {attempts / seconds:.0f} a second; another user's login meanwhile: p99 {slowest:.0f} ms")
    print(f"{attempts // 5} guesses from a thousand addresses: {spread}; another user's login meanwhile: p99 {slowest_beside:.0f} ms")
    return {
        "known_p50_ms": round(statistics.median(times["known"]), 2),
        "unknown_p50_ms": round(statistics.median(times["unknown"]), 2),
        "welch_t": round(welch_t(times["known"], times["unknown"]), 2),
        "guesses": attempts,
        "judged": answers.get(401, 0),
        "throttled": answers.get(429, 0),
        "other_login_p50_ms": round(statistics.median(others), 1),
        "other_login_p99_ms": round(slowest, 1),
        "spread_judged": spread.get(401, 0),
        "spread_other_login_p99_ms": round(slowest_beside, 1),
    }


def missed(found: dict[str, float]) -> list[str]:
    """Return the aims that were not met."""
    aims = {
        "the answers can be told apart by their time": abs(found["welch_t"]) >= 3,
        "one address had too many guesses judged": found["judged"] > found["guesses"] / 100,
        "another user waited a second": max(found["other_login_p99_ms"], found["spread_other_login_p99_ms"]) >= 1000,
    }
    return [aim for aim, is_missed in aims.items() if is_missed]


def main() -> None:
    """Run it and print one line of JSON last."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="few attempts: shows that it runs, not how fast")
    is_quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory(prefix="aristobot-bench-") as folder:
        # Root's server cannot pass through a folder that is root's alone.
        Path(folder).chmod(0o711)
        with ServerProcess(Path(folder) / "data", registration="open", trusted_proxies="127.0.0.1", roles="web,engine") as server:
            found = asyncio.run(measure(server.url, pairs=12 if is_quick else 200, attempts=300 if is_quick else 10_000))
    print(json.dumps(found))
    if not is_quick and (aims := missed(found)):
        raise SystemExit("; ".join(aims))


if __name__ == "__main__":
    main()
