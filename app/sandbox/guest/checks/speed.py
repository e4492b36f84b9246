"""How many candles a second a strategy decides."""

import time
from typing import Final

from app.domain.simulation import SimulationCosts
from app.sandbox.guest.checks.findings import Findings
from app.sandbox.guest.loading import Loaded
from app.sandbox.guest.running import decide_everywhere
from app.sandbox.guest.session import Frames

#: Long enough to be measured, short enough to be waited for.
_LEAST_S: Final = 0.1
_SLOW: Final = 10_000
_YEAR_OF_MINUTES: Final = 525_600


def check_speed(loaded: Loaded, frames: Frames, costs: SimulationCosts, findings: Findings) -> float:
    """Return candles a second."""
    began = time.perf_counter()
    candles = 0
    while True:
        session, _ = decide_everywhere(loaded, frames, costs, 0)
        candles += len(session.candles)
        taken = time.perf_counter() - began
        if taken >= _LEAST_S or candles == 0:
            break
    rate = candles / taken
    if 0 < rate < _SLOW:
        findings.add("SLOW", rate=f"{rate:.0f}", seconds=f"{_YEAR_OF_MINUTES / rate:.0f}")
    return rate
