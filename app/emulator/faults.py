"""Faults on demand: rules that make requests, streams, orders' visibility or the venue's clock go wrong in a chosen way.

Requests: `drop_before` closes the connection without executing · `drop_after` executes and closes without a reply · `delay` executes and
replies late · `delay_before` executes late, even if the client has given up by then · `slow_body` executes and dribbles the reply byte by
byte · `status_before` and `status_after` answer an error without or after executing · `truncate` executes and breaks off inside the body ·
`html` executes and answers 200 with a web page · `empty` executes and answers 200 with `{}` · `id_none` executes and answers an order
whose id is null · `waf_403` and `unavailable_1008` refuse with the words of a firewall and of an overloaded venue.

Streams: `ws_close` breaks every connection now · `close_code` closes each with a code · `shutdown` announces `serverShutdown` and closes
later · `ws_silent` keeps them open and answering pings but sends nothing · `reorder` swaps neighbouring messages · `late_close`,
`duplicate_close`, `revised_close`, `missing_close` for closed candles · `user_events` lets order reports come twice, swapped or not.

The venue: `hide_orders` denies orders it has accepted · `clock_skew` tells a wrong time and judges signatures by it · `ban` refuses
everything for a while.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from app.emulator.active_fault import ActiveFault
from app.emulator.clock import MarketClock
from app.emulator.event_faults import EventFaults
from app.emulator.fault_rules import CANDLE_FAULTS, REQUEST_FAULTS, FaultRule
from app.emulator.ledger import OrderRecord
from app.emulator.limits import ForcedBan, Limits
from app.emulator.requests import Received
from app.emulator.sockets import ABNORMAL, GOING_AWAY, Sockets
from app.emulator.stream_faults import StreamFaults
from app.emulator.timeline import Timeline

_MOST_COUNTED_PLACES = 1000
_STREAM_RULES = frozenset({*CANDLE_FAULTS, "ws_silent", "reorder"})


@dataclass(slots=True)
class Faults:
    """All faults of a venue: those in force, and those that wait for their time."""

    seed: int
    timeline: Timeline
    clock: MarketClock
    sockets: Sockets
    limits: Limits
    started_ms: int
    streams: StreamFaults
    user_events: EventFaults[Any]
    """Whoever publishes user events hands each of them to its `deliver`."""
    _last_number: int = 0
    _rules: dict[int, ActiveFault] = field(default_factory=dict)
    _requests: list[ActiveFault] = field(default_factory=list)
    _hidden: list[ActiveFault] = field(default_factory=list)
    _counts: dict[tuple[str, str], int] = field(default_factory=dict)

    def put(self, rule: FaultRule) -> int:
        """Take a rule, now or at its time, and return its number."""
        self._last_number += 1
        active = ActiveFault(number=self._last_number, rule=rule, random=Random(f"{self.seed}:fault:{self._last_number}"))  # noqa: S311  # no secret
        self._rules[active.number] = active
        if rule.at_ms is not None and self.started_ms + rule.at_ms > self.clock.wall.now():
            active.is_waiting = True
            active.timer = self.timeline.call_at(self.started_ms + rule.at_ms, lambda: self._begin(active))
        else:
            self._begin(active)
        return active.number

    def remove(self, number: int) -> bool:
        """End a rule or keep it from beginning; return whether there was one."""
        active = self._rules.get(number)
        if active is not None:
            self._end(active)
        return active is not None

    def clear(self) -> None:
        """End all rules."""
        for active in tuple(self._rules.values()):
            self._end(active)

    def describe(self) -> list[dict[str, object]]:
        """Return the rules that still have something to do."""
        return [active.describe() for active in self._rules.values()]

    def take(self, request: Received) -> FaultRule | None:
        """Return the rule that hits this request and count it off, or None. Every request must be shown exactly once."""
        index = self._counts.get(request.key, 0)
        if index or len(self._counts) < _MOST_COUNTED_PLACES:
            self._counts[request.key] = index + 1
        for active in self._requests:
            if active.hits_request(request, index):
                if active.is_used_up:
                    self._end(active)
                return active.rule
        return None

    def hides(self, order: OrderRecord) -> bool:
        """Return whether the venue denies an order at the moment."""
        return bool(self._hidden) and any(self._is_hidden_by(active.rule, order) for active in self._hidden)

    def _is_hidden_by(self, rule: FaultRule, order: OrderRecord) -> bool:
        return (
            rule.symbol in ("*", order.symbol)
            and rule.api_key in ("*", order.api_key)
            and order.client_order_id.startswith(rule.client_order_id_prefix)
            and (not rule.delay_ms or self.clock.wall_now() - order.time < rule.delay_ms)
        )

    def _begin(self, active: ActiveFault) -> None:
        rule = active.rule
        active.is_waiting, active.timer = False, None
        if rule.for_ms is not None:
            active.timer = self.timeline.call_after(rule.for_ms, lambda: self._end(active))
        if rule.do in REQUEST_FAULTS:
            self._requests.append(active)
        elif rule.do in _STREAM_RULES:
            self.streams.add(active, on_used_up=self._end)
        elif rule.do == "hide_orders":
            self._hidden.append(active)
        elif rule.do == "user_events":
            self.user_events.start(rule.mode)
        elif rule.do == "clock_skew":
            self.clock.skew_ms = rule.clock_skew_ms
        elif rule.do == "ban":
            self.limits.force(_ban(rule, now=self.clock.wall.now()))
        else:
            self._instant(rule)()
            self._end(active)

    def _instant(self, rule: FaultRule) -> Callable[[], None]:
        code = rule.code if rule.code is not None else GOING_AWAY
        if rule.do == "ws_close":
            return lambda: self.sockets.close(ABNORMAL, on=rule.on)
        if rule.do == "close_code":
            return lambda: self.sockets.close(code, on=rule.on)
        return lambda: self.sockets.shut_down(after_ms=rule.delay_ms, code=code, on=rule.on)

    def _end(self, active: ActiveFault) -> None:
        self._rules.pop(active.number, None)
        if active.timer is not None:
            active.timer.cancel()
        if active in self._requests:
            self._requests.remove(active)
        if active in self._hidden:
            self._hidden.remove(active)
        self.streams.remove(active)
        if active.is_waiting:
            return
        if active.rule.do == "user_events" and not self._has("user_events"):
            self.user_events.stop()
        if active.rule.do == "clock_skew" and not self._has("clock_skew"):
            self.clock.skew_ms = 0
        if active.rule.do == "ban" and not self._has("ban"):
            self.limits.force(None)

    def _has(self, do: str) -> bool:
        return any(active.rule.do == do and not active.is_waiting for active in self._rules.values())


def _ban(rule: FaultRule, *, now: int) -> ForcedBan:
    return ForcedBan(rule.code or 418, now + (rule.for_ms or 0), None if rule.ip == "*" else rule.ip)
