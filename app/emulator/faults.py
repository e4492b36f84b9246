"""Faults on demand: rules that make the next requests of a kind go wrong in a chosen way.

`drop_before` closes the connection without executing · `drop_after` executes and closes without a reply · `delay` executes and replies
late · `status_before` answers an error without executing · `status_after` executes and answers an error · `truncate` executes and breaks
off inside the body · `html` executes and answers 200 with a web page. For streams: `ws_close` drops every connection now, `ws_silent`
keeps them open and answering pings but sends nothing for a while. `user_events` lets order reports come twice, swapped or not at all.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Generic, TypeVar

import orjson
from aiohttp import web

from app.errors import InvalidInput

REQUEST_FAULTS = frozenset({"drop_before", "drop_after", "delay", "status_before", "status_after", "truncate", "html"})
STREAM_FAULTS = frozenset({"ws_close", "ws_silent", "user_events"})
EVENT_MODES = frozenset({"dup", "reorder", "drop"})

HTML = b"<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center></body></html>"
_MISSING_BYTES = 64
_MAX_DELAY_MS = 600_000
_LONGEST_HOLD_S = 1.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRule:
    """One rule: after `skip` matching requests it hits the next `times` of them. `*` matches every method or path."""

    do: str
    method: str = "*"
    path: str = "*"
    times: int = 1
    skip: int = 0
    delay_ms: int = 1000
    status: int = 504
    body: object = field(default_factory=lambda: {"code": -1007, "msg": "Timeout waiting for response from backend server."})
    headers: dict[str, str] = field(default_factory=dict)
    for_ms: int = 10_000
    mode: tuple[str, ...] = ()

    def matches(self, method: str, path: str) -> bool:
        """Return whether a request is of the rule's kind."""
        return self.method in ("*", method) and self.path in ("*", path)


def read_rule(document: dict[str, Any]) -> FaultRule:
    """Return the rule of a control request's body.

    Raises:
        InvalidInput: a field is unknown or has a value that cannot be used.
    """
    kinds = {
        "do": str,
        "method": str,
        "path": str,
        "times": int,
        "skip": int,
        "delay_ms": int,
        "status": int,
        "for_ms": int,
        "headers": dict,
        "mode": list,
    }
    for name, value in document.items():
        expected = kinds.get(name, object)
        if name not in kinds and name != "body":
            raise InvalidInput(f"a fault has no field {name!r}", field=name)
        if not isinstance(value, expected) or isinstance(value, bool) or (isinstance(value, int) and not 0 <= value <= _MAX_DELAY_MS):
            raise InvalidInput(f"{name} cannot be {value!r}", field=name)
    if document.get("do") not in REQUEST_FAULTS | STREAM_FAULTS:
        raise InvalidInput(f"do must be one of {', '.join(sorted(REQUEST_FAULTS | STREAM_FAULTS))}, was {document.get('do')!r}", field="do")
    if "mode" in document or document["do"] == "user_events":
        read_event_modes(document.get("mode", []))
    return FaultRule(**{**document, "mode": tuple(document.get("mode", ()))})


def read_event_modes(words: Iterable[object]) -> dict[str, float]:
    """Return the probability of each mode of `words`, such as `["dup", "drop:0.3"]`; without a number it always happens.

    Raises:
        InvalidInput: there is none, a mode is unknown or its probability is none.
    """
    modes: dict[str, float] = {}
    for word in words:
        name, _, text = str(word).partition(":")
        try:
            probability = float(text or "1")
        except ValueError:
            probability = -1.0
        if name not in EVENT_MODES or not 0 < probability <= 1:
            raise InvalidInput(
                f"mode must be of {', '.join(sorted(EVENT_MODES))}, with a probability as in drop:0.3, was {word!r}", field="mode"
            )
        modes[name] = probability
    if not modes:
        raise InvalidInput("mode must name at least one of " + ", ".join(sorted(EVENT_MODES)), field="mode")
    return modes


class UserEventFaults(Generic[T]):
    """What goes wrong with user events on their way out: they come twice, swapped, or not at all.

    The publisher hands every event to `deliver`; with no fault in force that is one call more. Chance comes from the seed alone.
    """

    def __init__(self, *, seed: int, now_ms: Callable[[], int]) -> None:
        self._random = Random(f"{seed}:user-events")  # noqa: S311  # a fault's dice, no secret
        self._now_ms = now_ms
        self._modes: Mapping[str, float] = {}
        self._until_ms = 0
        self._held: dict[Hashable, Callable[[], None]] = {}

    def start(self, modes: Mapping[str, float], *, for_ms: int) -> None:
        """Let events go wrong for a while: `modes` maps dup, reorder, drop to their probabilities."""
        self._modes = modes
        self._until_ms = self._now_ms() + for_ms

    def stop(self) -> None:
        """Deliver faithfully again, what was held back first."""
        self._modes = {}
        for recipient in tuple(self._held):
            self._release(recipient)

    def deliver(self, recipient: Hashable, event: T, send: Callable[[T], None]) -> None:
        """Hand `event` to `send` as often and as late as the faults in force want it.

        Args:
            recipient: Whose events they are; only events of one recipient are swapped with each other.
            event: What to send.
            send: Sends it now. It may be called after this method has returned, from the loop.
        """
        if self._modes and self._now_ms() >= self._until_ms:
            self.stop()
        if not self._modes:
            send(event)
            return
        if self._happens("drop"):
            return
        times = 2 if self._happens("dup") else 1

        def send_all() -> None:
            for _ in range(times):
                send(event)

        if recipient not in self._held and self._happens("reorder"):
            # The next event overtakes this one; when none comes, it is merely late.
            self._held[recipient] = send_all
            asyncio.get_running_loop().call_later(_LONGEST_HOLD_S, self._release, recipient, send_all)
            return
        send_all()
        self._release(recipient)

    def _happens(self, mode: str) -> bool:
        return mode in self._modes and self._random.random() < self._modes[mode]

    def _release(self, recipient: Hashable, only: Callable[[], None] | None = None) -> None:
        held = self._held.get(recipient)
        if held is not None and only in (None, held):
            del self._held[recipient]
            held()


class Faults:
    """The rules in force."""

    def __init__(self, *, seed: int, now_ms: Callable[[], int]) -> None:
        self._rules: list[FaultRule] = []
        self.user_events: UserEventFaults[Any] = UserEventFaults(seed=seed, now_ms=now_ms)

    def add(self, rule: FaultRule) -> None:
        """Put a request rule in force."""
        self._rules.append(rule)

    def clear(self) -> None:
        """Forget all rules."""
        self._rules.clear()
        self.user_events.stop()

    def describe(self) -> list[dict[str, object]]:
        """Return the rules that still have something to do."""
        return [{"do": rule.do, "method": rule.method, "path": rule.path, "times": rule.times, "skip": rule.skip} for rule in self._rules]

    def take(self, method: str, path: str) -> FaultRule | None:
        """Return the rule that hits this request and count it off, or None."""
        for index, rule in enumerate(self._rules):
            if not rule.matches(method, path):
                continue
            if rule.skip:
                self._rules[index] = replace(rule, skip=rule.skip - 1)
                continue
            if rule.times > 1:
                self._rules[index] = replace(rule, times=rule.times - 1)
            else:
                del self._rules[index]
            return rule
        return None


async def apply_fault(rule: FaultRule, request: web.Request, execute: Callable[[], web.Response]) -> web.StreamResponse:
    """Answer `request` the way `rule` says; `execute` does what was asked and returns the honest answer."""
    return await _ACTIONS[rule.do](rule, request, execute)


async def _drop_before(_rule: FaultRule, request: web.Request, _execute: Callable[[], web.Response]) -> web.StreamResponse:
    return _hang_up(request)


async def _drop_after(_rule: FaultRule, request: web.Request, execute: Callable[[], web.Response]) -> web.StreamResponse:
    execute()
    return _hang_up(request)


async def _delay(rule: FaultRule, _request: web.Request, execute: Callable[[], web.Response]) -> web.StreamResponse:
    response = execute()
    await asyncio.sleep(rule.delay_ms / 1000)
    return response


async def _status_before(rule: FaultRule, _request: web.Request, _execute: Callable[[], web.Response]) -> web.StreamResponse:
    return _error(rule)


async def _status_after(rule: FaultRule, _request: web.Request, execute: Callable[[], web.Response]) -> web.StreamResponse:
    execute()
    return _error(rule)


async def _truncate(_rule: FaultRule, request: web.Request, execute: Callable[[], web.Response]) -> web.StreamResponse:
    honest = execute()
    body = honest.body if isinstance(honest.body, bytes) else b""
    response = web.StreamResponse(status=honest.status, headers={"Content-Type": "application/json"})
    response.content_length = len(body) + _MISSING_BYTES
    await response.prepare(request)
    await response.write(body[: max(1, len(body) // 2)])
    if request.transport is not None:
        request.transport.close()
    return response


async def _html(_rule: FaultRule, _request: web.Request, execute: Callable[[], web.Response]) -> web.StreamResponse:
    execute()
    return web.Response(body=HTML, content_type="text/html")


_ACTIONS: dict[str, Callable[[FaultRule, web.Request, Callable[[], web.Response]], Awaitable[web.StreamResponse]]] = {
    "drop_before": _drop_before,
    "drop_after": _drop_after,
    "delay": _delay,
    "status_before": _status_before,
    "status_after": _status_after,
    "truncate": _truncate,
    "html": _html,
}


def _hang_up(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _error(rule: FaultRule) -> web.Response:
    return web.Response(body=orjson.dumps(rule.body), status=rule.status, headers=rule.headers, content_type="application/json")
