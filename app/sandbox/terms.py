"""On what terms strategies are run: limits by purpose, and deadlines."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from app.sandbox.cell import Cause
from app.sandbox.messages import Decide, Load, Request, Run, Sweep
from app.sandbox.quotas import Limits, Purpose

_MIB: Final = 1 << 20
#: Ends that are nobody's fault.
INNOCENT: Final = frozenset({Cause.RELEASED, Cause.ZYGOTE, Cause.NOT_LOCKED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What a worker gets, by its purpose."""

    memory_bytes: int
    nice: int
    is_batch: bool


SHARES: Final = {
    Purpose.LIVE: Share(memory_bytes=256 * _MIB, nice=5, is_batch=False),
    Purpose.VALIDATION: Share(memory_bytes=512 * _MIB, nice=10, is_batch=False),
    Purpose.BACKTEST: Share(memory_bytes=1024 * _MIB, nice=15, is_batch=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class JailConfig:
    """How the jail is run.

    Attributes:
        socket_path: Of a sandboxd in a container of its own; None starts one as a child of this process.
        trusts_strategies: Runs strategies even where they cannot be locked in.
        load_s: Seconds for compiling and describing a strategy.
        call_s: Seconds for one live decision.
        run_s: Seconds for one backtest.
        check_s: Seconds for one step of validation.
        backtests_at_once: Of all users; 0 is one fewer than there are processors.
    """

    socket_path: Path | None = None
    trusts_strategies: bool = False
    limits: Limits = field(default_factory=Limits)
    load_s: float = 2.0
    call_s: float = 0.25
    run_s: float = 120.0
    check_s: float = 30.0
    backtests_at_once: int = 0

    def life_cpu_s(self, purpose: Purpose) -> int:
        """Return the processor seconds of a worker's life: a backtest is one run, a validation a dozen steps; 0 for one without end."""
        seconds = {Purpose.BACKTEST: self.load_s + self.run_s, Purpose.VALIDATION: self.load_s + 12 * self.check_s}.get(purpose, 0)
        return math.ceil(2 * seconds)

    def wall_s(self, request: Request) -> float:
        """Return the seconds that a request may take."""
        match request:
            case Load():
                return self.load_s
            case Decide():
                return self.call_s
            case Run() | Sweep():
                return self.run_s
            case _:
                return self.check_s
