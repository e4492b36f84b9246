"""Rules for faults, as the control interface and scenario files write them; docs/emulator.md lists all kinds and fields."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.emulator.clock import LARGEST_SKEW_MS
from app.emulator.durations import read_duration
from app.errors import InvalidInput

EVENT_MODES = frozenset({"dup", "reorder", "drop"})

_WHICH = frozenset({"method", "path", "symbol", "client_order_id_prefix", "api_key", "skip", "times", "p"})
_WHEN = frozenset({"at", "for"})
_ORDERS = frozenset({"symbol", "client_order_id_prefix", "api_key"})

REQUEST_FAULTS: Mapping[str, frozenset[str]] = {
    kind: _WHICH | _WHEN | own
    for kind, own in {
        "drop_before": frozenset[str](),
        "drop_after": frozenset[str](),
        "delay": frozenset({"delay_ms"}),
        "delay_before": frozenset({"delay_ms"}),
        "slow_body": frozenset({"delay_ms"}),
        "status_before": frozenset({"status", "body", "headers"}),
        "status_after": frozenset({"status", "body", "headers"}),
        "truncate": frozenset[str](),
        "html": frozenset[str](),
        "empty": frozenset[str](),
        "id_none": frozenset[str](),
        "waf_403": frozenset[str](),
        "unavailable_1008": frozenset({"executed"}),
    }.items()
}
CANDLE_FAULTS: Mapping[str, frozenset[str]] = {
    "late_close": _WHEN | {"stream", "times", "delay_ms"},
    "duplicate_close": _WHEN | {"stream", "times"},
    "revised_close": _WHEN | {"stream", "times", "delay_ms"},
    "missing_close": _WHEN | {"stream", "times"},
}
LASTING_FAULTS: Mapping[str, frozenset[str]] = {
    "ws_silent": _WHEN | {"stream"},
    "reorder": _WHEN | {"stream", "p"},
    "user_events": _WHEN | {"mode"},
    "hide_orders": _WHEN | _ORDERS | {"delay_ms"},
    "clock_skew": _WHEN | {"clock_skew_ms"},
    "ban": frozenset({"at", "ip", "code", "retry_after"}),
}
INSTANT_FAULTS: Mapping[str, frozenset[str]] = {
    "ws_close": frozenset({"at", "on"}),
    "close_code": frozenset({"at", "on", "code"}),
    "shutdown": frozenset({"at", "on", "code", "delay_ms"}),
}
KINDS: Mapping[str, frozenset[str]] = {**REQUEST_FAULTS, **CANDLE_FAULTS, **LASTING_FAULTS, **INSTANT_FAULTS}

_TIMEOUT = {"code": -1007, "msg": "Timeout waiting for response from backend server. Send status unknown; execution status unknown."}
_LASTING_MS = 10_000
_LONGEST_MS = LARGEST_SKEW_MS
_LONGEST_DELAY_MS = 600_000
_BAN_MS = 120_000
_FIRST_CLOSE_CODE, _LAST_CLOSE_CODE = 1000, 4999
_MOST = 1_000_000
_PLACES = {
    "order": ("POST", "/api/v3/order"),
    "cancel": ("DELETE", "/api/v3/order"),
    "query": ("GET", "/api/v3/order"),
    "cancel_replace": ("POST", "/api/v3/order/cancelReplace"),
}
_PLACE = re.compile(r"(?:(?P<name>[a-z_]+)|(?P<method>GET|POST|PUT|DELETE) (?P<path>/\S{1,100}))\[(?P<index>\d{1,9})\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRule:
    """What goes wrong, where and when. `*` matches everything.

    `at_ms` is when it begins, in ms after the emulator's start; `index` counts the requests of `method` and `path` since then from 0.
    `times` and `for_ms` end it, whichever comes first; None sets no end. Of the requests it matches it leaves out the first `skip` and
    hits the others with probability `p`.
    """

    do: str
    method: str = "*"
    path: str = "*"
    symbol: str = "*"
    client_order_id_prefix: str = ""
    api_key: str = "*"
    stream: str = "*"
    ip: str = "*"
    on: str = "all"
    index: int | None = None
    at_ms: int | None = None
    for_ms: int | None = None
    times: int | None = None
    skip: int = 0
    p: float = 1.0
    delay_ms: int = 1000
    status: int = 504
    body: object = field(default_factory=_TIMEOUT.copy)
    headers: Mapping[str, str] = field(default_factory=dict)
    code: int | None = None
    clock_skew_ms: int = 0
    executed: bool = False
    mode: Mapping[str, float] = field(default_factory=dict)


def read_rule(document: Mapping[str, Any]) -> FaultRule:
    """Return the rule that a control request's body or an entry of a scenario asks for.

    Raises:
        InvalidInput: a field is unknown, not of this kind of fault, or has a value that cannot be used.
    """
    do = document.get("do")
    if not isinstance(do, str) or do not in KINDS:
        raise InvalidInput(f"do must be one of {', '.join(sorted(KINDS))}, was {do!r}", field="do")
    given = _given(do, document)
    read: dict[str, Any] = {target: value for name, text in given.items() for target, value in _READERS[name](name, text).items()}
    if "index" in read and (do not in REQUEST_FAULTS or given.keys() & {"method", "path", "skip"}):
        raise InvalidInput("at counts requests only of a fault of requests, and goes with neither method nor path nor skip", field="at")
    _check_code(do, read.get("code"))
    if do == "ban":
        read.setdefault("for_ms", _BAN_MS)
    elif do in LASTING_FAULTS:
        read.setdefault("for_ms", _LASTING_MS)
    elif "for_ms" not in read and read.get("p", 1.0) == 1.0:
        read.setdefault("times", 1)
    if do == "hide_orders":
        # Without a delay orders of any age are hidden.
        read.setdefault("delay_ms", 0)
    return FaultRule(do=do, **read)


def _check_code(do: str, code: int | None) -> None:
    if code is None:
        return
    if do == "ban" and code not in (418, 429):
        raise InvalidInput(f"code of a ban must be 418 or 429, was {code}", field="code")
    if do != "ban" and not _FIRST_CLOSE_CODE <= code <= _LAST_CLOSE_CODE:
        raise InvalidInput(f"code of a closed connection must be {_FIRST_CLOSE_CODE} to {_LAST_CLOSE_CODE}, was {code}", field="code")


def _given(do: str, document: Mapping[str, Any]) -> dict[str, Any]:
    given = {"for" if name == "for_ms" else name: value for name, value in document.items() if name != "do"}
    if len(given) + 1 != len(document):
        raise InvalidInput("give either for or for_ms", field="for")
    for name in given:
        if name not in KINDS[do]:
            raise InvalidInput(f"a fault {do} has no field {name!r}", field=name)
    for name in _REQUIRED.get(do, ()):
        if name not in given:
            raise InvalidInput(f"a fault {do} needs {name}", field=name)
    return given


def read_event_modes(name: str, words: object) -> dict[str, float]:
    """Return the probability of each mode of `words`, such as `["dup", "drop:0.3"]`; without a number it always happens.

    Raises:
        InvalidInput: there is none, a mode is unknown or its probability is none.
    """
    modes: dict[str, float] = {}
    for word in words if isinstance(words, Iterable) and not isinstance(words, str) else ():
        mode, _, text = str(word).partition(":")
        modes[mode] = _as_float(text or "1")
        if mode not in EVENT_MODES or not 0 < modes[mode] <= 1:
            raise InvalidInput(f"{name} must be of {', '.join(sorted(EVENT_MODES))}, each with a probability as in drop:0.3", field=name)
    if not modes:
        raise InvalidInput(f"{name} must list at least one of {', '.join(sorted(EVENT_MODES))}, was {words!r}", field=name)
    return modes


def _as_float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return -1.0


def _refuse(name: str, value: object) -> InvalidInput:
    return InvalidInput(f"{name} cannot be {value!r}", field=name)


def _text(name: str, value: object) -> dict[str, object]:
    if not isinstance(value, str) or not value or len(value) > 200:
        raise _refuse(name, value)
    return {name: value}


def _whole(smallest: int, largest: int) -> Callable[[str, object], dict[str, int]]:
    def read(name: str, value: object) -> dict[str, int]:
        if not isinstance(value, int) or isinstance(value, bool) or not smallest <= value <= largest:
            raise _refuse(name, value)
        return {name: value}

    return read


def _probability(name: str, value: object) -> dict[str, object]:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= 1:
        raise _refuse(name, value)
    return {name: float(value)}


def _flag(name: str, value: object) -> dict[str, object]:
    if not isinstance(value, bool):
        raise _refuse(name, value)
    return {name: value}


def _headers(name: str, value: object) -> dict[str, object]:
    is_usable = isinstance(value, dict) and all(
        isinstance(part, str) and part.isprintable() and part for pair in value.items() for part in pair
    )
    if not is_usable:
        raise _refuse(name, value)
    return {name: value}


def _for(name: str, value: object) -> dict[str, object]:
    for_ms = read_duration(value)
    if not 0 < for_ms <= _LONGEST_MS:
        raise _refuse(name, value)
    return {"for_ms": for_ms}


def _retry_after(name: str, value: object) -> dict[str, object]:
    return {"for_ms": _whole(1, _LONGEST_MS // 1000)(name, value)[name] * 1000}


def _on(name: str, value: object) -> dict[str, object]:
    if value not in ("all", "streams", "api"):
        raise InvalidInput(f"{name} must be all, streams or api, was {value!r}", field=name)
    return {name: value}


def _at(name: str, value: object) -> dict[str, object]:
    match = _PLACE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        at_ms = read_duration(value)
        if at_ms < 0:
            raise _refuse(name, value)
        return {"at_ms": at_ms}
    if match["name"] is not None and match["name"] not in _PLACES:
        raise InvalidInput(f"{name} counts {', '.join(_PLACES)}, or requests such as GET /api/v3/account[2], was {value!r}", field=name)
    method, path = _PLACES[match["name"]] if match["name"] is not None else (match["method"], match["path"])
    return {"method": method, "path": path, "index": int(match["index"])}


_READERS: Mapping[str, Callable[[str, object], Mapping[str, object]]] = {
    "method": _text,
    "path": _text,
    "symbol": _text,
    "client_order_id_prefix": _text,
    "api_key": _text,
    "stream": _text,
    "skip": _whole(0, _MOST),
    "times": _whole(1, _MOST),
    "p": _probability,
    "at": _at,
    "for": _for,
    "delay_ms": _whole(0, _LONGEST_DELAY_MS),
    "status": _whole(200, 599),
    "body": lambda name, value: {name: value},
    "headers": _headers,
    "code": _whole(400, _LAST_CLOSE_CODE),
    "ip": _text,
    "on": _on,
    "retry_after": _retry_after,
    "clock_skew_ms": _whole(-LARGEST_SKEW_MS, LARGEST_SKEW_MS),
    "executed": _flag,
    "mode": lambda name, value: {name: read_event_modes(name, value)},
}
_REQUIRED: Mapping[str, tuple[str, ...]] = {
    "user_events": ("mode",),
    "clock_skew": ("clock_skew_ms",),
    "close_code": ("code",),
}
