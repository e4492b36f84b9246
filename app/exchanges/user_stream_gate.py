"""Lets the connections and subscriptions of accounts' events pass the gate that all requests to their venue pass."""

import asyncio
import time
from typing import Final

from app.domain.enums import Lane
from app.exchanges.budgets import Kind
from app.exchanges.circuit import Reason
from app.exchanges.gate import VenueGate

_LOOK_S: Final = 1.0


class GateTurnstile:
    """The gate of one venue address, for streams: they go after orders and before market data, and have no deadline."""

    def __init__(self, gate: VenueGate) -> None:
        self._gate = gate

    async def turn(self, weight: int) -> None:
        """Wait while the venue has asked this server to keep away, then for a place in its limits."""
        circuit = self._gate.circuit
        # Another host that cannot be reached says nothing of this one.
        while not circuit.is_closed and circuit.reason is not Reason.UNREACHABLE:
            await asyncio.sleep(min(max(circuit.until_s - time.monotonic(), _LOOK_S), 5 * _LOOK_S))
            if circuit.is_due:
                await self._gate.tend(is_active=False)
        async with self._gate.limiter.slot(lane=Lane.RECONCILE, weight=weight, kind=Kind.PUBLIC) as slot:
            slot.has_left = True

    def refused(self, pause_s: float, *, is_banned: bool) -> None:
        """The venue counts by IP: what it refuses here it refuses everywhere."""
        self._gate.circuit.trip(Reason.BANNED if is_banned else Reason.RATE_LIMITED, pause_s)
