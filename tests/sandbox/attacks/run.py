"""Makes attacks on a jail and writes what came of each, a line of JSON at a time.

    uv run python -m tests.sandbox.attacks.run full none seccomp [--rows 3 9]

This process is the server: it has the secrets, its child is the zygote, and the workers are below that. Started under another user it
shows the jail as somebody who is not root gets it: the workers are then the server's own user.
"""

import argparse
import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import numpy as np
import psutil
import structlog

from app.errors.general import AppError
from app.errors.strategies import StrategyKilled
from app.sandbox.frames import Candles
from app.sandbox.jail import Jail, Worker
from app.sandbox.messages import Costs, Decide, Failed, Frame, Holding, Load, Reply, Request, Run
from app.sandbox.orders import Layers
from app.sandbox.quotas import Purpose
from app.sandbox.wire import HEADER
from tests.sandbox.attacks import prelude
from tests.sandbox.attacks.jailed import a_jail
from tests.sandbox.attacks.row import Attack
from tests.sandbox.attacks.rows import ATTACKS
from tests.sandbox.attacks.victims import Server, new_secret, server

ROWS: Final = 500
#: The attacks meet the kernel and the protocol; the friendly words of the language are on in the configuration `product` alone.
_NONE: Final = dict.fromkeys(("rlimits", "uid", "dumpable", "landlock", "seccomp", "audit_hook"), False)
_ALL: Final = dict.fromkeys(("rlimits", "uid", "dumpable", "landlock", "seccomp"), True) | {"audit_hook": False}
CONFIGURATIONS: Final[dict[str, Layers | None]] = {
    "product": None,
    "full": Layers(**_ALL),
    "none": Layers(**_NONE),
    "uid": Layers(**_NONE | {"uid": True}),
    "limits": Layers(**_NONE | {"uid": True, "rlimits": True}),
    "landlock": Layers(**_NONE | {"landlock": True}),
    "seccomp": Layers(**_NONE | {"seccomp": True}),
    "dumpable": Layers(**_NONE | {"dumpable": True}),
    "nothing": Layers(**_NONE | {"close_fds": False}),
    "without uid": Layers(**_ALL | {"uid": False}),
    "without limits": Layers(**_ALL | {"rlimits": False}),
    "without landlock": Layers(**_ALL | {"landlock": False}),
    "without seccomp": Layers(**_ALL | {"seccomp": False}),
}
_PRINTED: Final = 300
#: Attackers at a time, each a user of their own: most of an attack is waiting.
_AT_A_TIME: Final = 4


def candles() -> Candles:
    """Return the candles that every worker sees."""
    prices = 100 + np.cumsum(np.random.default_rng(7).normal(size=ROWS))
    return Candles(np.arange(ROWS, dtype=np.int64) * 3_600_000, prices, prices + 1, prices - 1, prices, np.ones(ROWS))


_FRAME: Final = Frame(symbol="BTC/USDT", timeframe="1h", rows=ROWS)
_DECIDE: Final = Decide(candle=None, holding=Holding(quantity=0.0, entry_price=0.0, equity=10_000.0))


def _request(name: str, source: str) -> Request:
    if name == "load":
        return Load(source=source)
    return Run(start=0, costs=Costs()) if name == "run" else _DECIDE


@asynccontextmanager
async def a_worker(jail: Jail, known: Candles) -> AsyncIterator[Worker]:
    """Start a worker of a user whom nobody has seen before."""
    async with jail.worker(user_id=uuid4(), purpose=Purpose.LIVE, frames=[(_FRAME, known)], result_rows=ROWS) as worker:
        yield worker


async def observe(jail: Jail, known: Candles, attack: Attack, facts: dict[str, object]) -> str:
    """Make one attack and put in a line what was seen of it."""
    source = attack.code if attack.is_whole else prelude.source(attack.code, facts, header=HEADER.format)
    last = ""
    try:
        async with a_worker(jail, known) as worker:
            for name in attack.asks:
                if name == "idle":
                    await asyncio.sleep(1.5)
                    continue
                last = _in_words(await worker.ask(_request(name, source), wall_s=attack.wall_s))
                if not last.startswith("answered"):
                    break
    except StrategyKilled as error:
        words = [str(error.context.get(name, "")) for name in ("reason", "detail")]
        return f"killed: {' '.join(words)}"
    except (AppError, ValueError) as error:
        return f"refused: {type(error).__name__}: {error}"
    return last


def _in_words(reply: Reply) -> str:
    if isinstance(reply, Failed):
        return f"leaked: {reply.message}" if reply.kind == "Leak" else f"raised: {reply.kind}: {reply.message}"
    return f"answered: {type(reply).__name__} {getattr(reply, 'output', '')}"


_TENANTS_STRATEGY: Final = """
from aristobot import Strategy

class Mine(Strategy):
    timeframe = "1h"
    recipe = "{secret}"

    def should_long(self):
        return self.candles.close[-1] > self.candles.close[-2] or self.recipe == ""
"""


class Tenant:
    """Another user's worker, at work during all attacks, with a secret of its own in its source."""

    def __init__(self, worker: Worker, pid: int) -> None:
        self._worker = worker
        self.pid = pid

    async def answer(self) -> str:
        """Return what it decides."""
        return repr(await self._worker.ask(_DECIDE))


@asynccontextmanager
async def a_tenant(jail: Jail, known: Candles) -> AsyncIterator[Tenant]:
    """Start the other user's worker."""
    async with a_worker(jail, known) as worker:
        # Nobody but the worker itself knows for sure who it is.
        told = await worker.ask(Load(source=prelude.source("raise Leak(os.getpid())\n", {}, header=HEADER.format)))
        assert isinstance(told, Failed), told
        pid = int(told.message)
        reply = await worker.ask(Load(source=_TENANTS_STRATEGY.format(secret=new_secret("tenant"))))
        assert not isinstance(reply, Failed), reply
        yield Tenant(worker, pid)


def _descriptors(pid: int) -> list[int]:
    """What a process has open; nothing when we may not look, for who is not dumpable is root's."""
    try:
        return sorted(int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir())
    except PermissionError:
        return []


def _looked_at(pid: int) -> dict[str, Any]:
    """What the kernel says of a locked worker; of its memory and descriptors only to a root who may look at everybody's."""
    maps: list[str] = []
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    with suppress(PermissionError):
        maps = [line.split()[1] for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    names = ("Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    return {
        "descriptors": _descriptors(pid),
        "writable_code": sum("w" in rights and "x" in rights for rights in maps),
        "limits": Path(f"/proc/{pid}/limits").read_text(),
        **{name: status[name].strip() for name in names},
    }


def secrets_in_memory(pid: int) -> int:
    """Return how many secrets stand in the memory of another process; -1 when we may not look."""
    found = 0
    try:
        with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            for line in maps:
                first, last = (int(it, 16) for it in line.split()[0].split("-"))
                if line.split()[1].startswith("r") and last < 2**47:
                    memory.seek(first)
                    try:
                        found += len(re.findall(rb"(?:server|tenant)-secret-[0-9a-f]{32}", memory.read(last - first)))
                    except OSError:
                        continue
    except PermissionError:
        return -1
    return found


def _write(**line: object) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


async def attack_with(name: str, victim: Server, attacks: Iterable[Attack], *, folder: Path) -> None:
    """Make the attacks with these layers on, and say how everybody is afterwards."""
    known = candles()
    before = [array.tobytes() for array in (known.time, known.close)]
    async with a_jail(CONFIGURATIONS[name], folder) as jail, a_tenant(jail, known) as tenant:
        first_answer, lock = await tenant.answer(), _looked_at(tenant.pid)
        facts = {**victim.facts(), "tenant_pid": tenant.pid}
        zygote = psutil.Process(tenant.pid).parent()
        assert zygote is not None
        zygote_files, own_files = len(_descriptors(zygote.pid)), psutil.Process().num_fds()
        some = asyncio.Semaphore(_AT_A_TIME)

        async def make(attack: Attack) -> None:
            async with some:
                seen = await observe(jail, known, attack, facts)
            _write(configuration=name, number=attack.number, observed=seen[:_PRINTED])

        await asyncio.gather(*map(make, attacks))
        await asyncio.sleep(0.2)
        after = {
            "candles_unchanged": before == [array.tobytes() for array in (known.time, known.close)],
            "tenant_answers_the_same": await tenant.answer() == first_answer,
            "tenant_lives": psutil.pid_exists(tenant.pid),
            "server_is_unharmed": victim.is_unharmed(),
            "visitors": victim.visitors(),
            "zygote_lives": zygote.is_running(),
            "zygote_children": len(zygote.children(recursive=True)),
            "zygote_descriptors_grew": len(_descriptors(zygote.pid)) - zygote_files,
            "own_descriptors_grew": psutil.Process().num_fds() - own_files,
            # Seconds of reading, for once.
            "secrets_in_zygote": secrets_in_memory(zygote.pid) if name == "full" else None,
            "secrets_here": secrets_in_memory(os.getpid()) if name == "full" else None,
            "lock": lock,
            "uid": os.getuid(),
        }
        _write(configuration=name, after=after)


def main() -> None:
    """Read the arguments and attack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configurations", nargs="+", choices=sorted(CONFIGURATIONS))
    parser.add_argument("--rows", nargs="*", type=int, default=None, help="only these numbers")
    given = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    chosen = [attack for number, attack in ATTACKS.items() if given.rows is None or number in given.rows]
    with server() as victim:
        for name in given.configurations:
            # What no layer is needed for is told by the configuration without layers and by the full ones.
            is_all = given.rows is not None or name in ("product", "full", "none")
            attacks = chosen if is_all else [attack for attack in chosen if attack.needs_layers]
            asyncio.run(attack_with(name, victim, attacks, folder=victim.folder))


if __name__ == "__main__":
    main()
