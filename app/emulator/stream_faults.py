"""What goes wrong with market streams: silence, and closed candles that come late, twice, changed or not at all."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from app.emulator.active_fault import ActiveFault
from app.emulator.event_faults import EventFaults
from app.emulator.fault_rules import CANDLE_FAULTS, FaultRule
from app.emulator.filters import eight
from app.emulator.timeline import Timeline

Payload = Mapping[str, Any]
Send = Callable[[str, Payload], None]


class StreamFaults:
    """The faults of market streams that are in force."""

    def __init__(self, timeline: Timeline, *, seed: int) -> None:
        self._timeline = timeline
        self._seed = seed
        self._active: dict[int, tuple[ActiveFault, Callable[[ActiveFault], None]]] = {}
        self._events: dict[int, EventFaults[Payload]] = {}

    @property
    def is_active(self) -> bool:
        """Whether any rule is in force."""
        return bool(self._active)

    def add(self, active: ActiveFault, *, on_used_up: Callable[[ActiveFault], None]) -> None:
        """Put a rule in force; `on_used_up` is told when it has hit as often as it should, and removes it."""
        self._active[active.number] = active, on_used_up
        if active.rule.do == "reorder":
            events = self._events[active.number] = EventFaults(f"{self._seed}:stream:{active.number}")
            events.start({"reorder": active.rule.p})

    def remove(self, active: ActiveFault) -> None:
        """End a rule; harmless when it is not in force."""
        self._active.pop(active.number, None)
        events = self._events.pop(active.number, None)
        if events is not None:
            events.stop()

    def pass_on(self, stream: str, payload: Payload, send: Send) -> None:
        """Send a payload of a stream the way the rules in force want it."""
        chosen = {active.rule.do: active for active, _ in self._active.values() if active.rule.stream in ("*", stream)}
        if silent := chosen.get("ws_silent"):
            silent.hits += 1
            return
        candle_fault = next((active for do, active in chosen.items() if do in CANDLE_FAULTS), None)
        if candle_fault is not None and payload.get("e") == "kline" and payload["k"]["x"]:
            self._count(candle_fault)
            self._close(candle_fault.rule, stream, payload, send)
        elif reorder := chosen.get("reorder"):
            self._events[reorder.number].deliver(stream, payload, lambda each: send(stream, each))
        else:
            send(stream, payload)

    def _count(self, active: ActiveFault) -> None:
        active.hits += 1
        if active.is_used_up:
            _, on_used_up = self._active[active.number]
            on_used_up(active)

    def _close(self, rule: FaultRule, stream: str, payload: Payload, send: Send) -> None:
        if rule.do == "late_close":
            self._timeline.call_after(rule.delay_ms, lambda: send(stream, payload))
        elif rule.do == "duplicate_close":
            send(stream, payload)
            send(stream, payload)
        elif rule.do == "revised_close":
            send(stream, payload)
            self._timeline.call_after(rule.delay_ms, lambda: send(stream, revised(payload)))


def revised(payload: Payload) -> Payload:
    """Return a closed candle as a venue completes it afterwards: one more trade at the far end of its range, and a little more volume."""
    candle = payload["k"]
    close = candle["h"] if candle["c"] != candle["h"] else candle["l"]
    more = {name: eight(Decimal(candle[name]) * Decimal("1.01")) for name in ("v", "q", "V", "Q")}
    return {**payload, "k": {**candle, **more, "c": close, "n": candle["n"] + 1, "L": candle["L"] + 1}}
