"""Runs the emulator as what it is in production: a process of its own. For tests, journeys and benchmarks."""

import hashlib
import hmac
import json
import os
import select
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.forked import Forked

HEADER = "open_time,open,high,low,close,volume"
MINUTE_MS = 60_000
#: Arguments of a venue that allows as much as one likes. By itself it announces Binance's limits, and our clients keep to them.
WITHOUT_LIMITS = ("--weight-limit", "1000000000", "--order-limit-10s", "1000000000", "--order-limit-1d", "1000000000")


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer with its JSON document; the names of its headers are in lower case."""

    status: int
    document: Any
    headers: Mapping[str, str] = field(default_factory=dict)


class EmulatorProcess:
    """One emulator on a free port. Use as a context manager, or call `start` and `stop`.

    `arguments` are those of `aristobot emulator`; the port and the parent's watch are added. With `keeps_port` each further start takes the
    port of the first one: those who traded there find it again.
    """

    def __init__(self, *arguments: str, start_timeout_s: float = 20.0, keeps_port: bool = False) -> None:
        self._arguments = arguments
        self._keeps_port = keeps_port
        self._start_timeout_s = start_timeout_s
        self._process: Forked | None = None
        self._complaints = Path()
        self.url = ""
        self.exit_code: int | None = None
        """Of the last process that was stopped."""
        self.last_words = ""
        """What the last process that was stopped wrote to stdout after it was ready."""

    def start(self) -> Self:
        """Start it and wait until it answers.

        Raises:
            RuntimeError: it ended or said nothing in time.
        """
        port = urllib.parse.urlsplit(self.url).port if self._keeps_port else None
        arguments = ("emulator", "--port", str(port or 0), "--parent-pid", str(os.getpid()), *self._arguments)
        self._complaints = Path(tempfile.mkstemp(prefix="aristobot-emulator-", suffix=".err")[1])
        process = Forked(arguments, output=None, errors=self._complaints)
        self._process = process
        assert process.stdout is not None
        readable, _, _ = select.select([process.stdout], [], [], self._start_timeout_s)
        line = process.stdout.readline() if readable else ""
        if not line:
            self.kill()
            raise RuntimeError(f"the emulator did not start: {self._said()}")
        self.url = json.loads(line)["url"]
        return self

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def ws_url(self) -> str:
        """Base URL of the streams."""
        return self.url.replace("http://", "ws://")

    def stop(self) -> str:
        """Ask it to end, wait, and return what it wrote to stderr; harmless when it has ended already."""
        process = self._process
        if process is None:
            return ""
        self._process = None
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self.last_words = process.last_words()
        self.exit_code = process.returncode
        return self._said()

    def kill(self) -> None:
        """End it without any chance to save."""
        process, self._process = self._process, None
        assert process is not None
        process.kill()
        process.wait()
        process.last_words()

    def _said(self) -> str:
        """Return what it wrote to stderr; it is asked once."""
        said = self._complaints.read_text()
        self._complaints.unlink()
        return said

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def request(self, method: str, path: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Reply:
        """Send one request and return the answer, errors included."""
        request = urllib.request.Request(self.url + path, data=body, method=method, headers=dict(headers or {}))
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return Reply(response.status, json.loads(response.read()), _lowered(response.headers))
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, json.loads(error.read()), _lowered(error.headers))

    def get(self, path: str, **params: str | int) -> Any:
        """Return the document of a public GET."""
        return self.request("GET", path + ("?" + urllib.parse.urlencode(params) if params else "")).document

    def control(self, method: str, path: str, document: object = None) -> Any:
        """Use the control interface under `/_`; an answer other than 200 fails."""
        reply = self.request(method, path, body=None if document is None else json.dumps(document).encode())
        assert reply.status == 200, reply
        return reply.document

    def open_account(self, api_key: str, api_secret: str, balances: Mapping[str, str], *, bnb_fee: bool = False) -> None:
        """Create or replace an account, one that pays its fees in BNB if asked for."""
        document = {"api_key": api_key, "api_secret": api_secret, "balances": dict(balances), "bnb_fee": bnb_fee}
        self.control("POST", "/_accounts", document)

    def change_symbol(self, symbol: str = "BTCUSDT", **changes: str) -> None:
        """Change a symbol's `status`, `tick`, `step` or `min_notional`."""
        self.control("POST", "/_symbols", {"symbol": symbol, **changes})

    def change_key(self, api_key: str, **permissions: bool) -> None:
        """Take permissions of a key away or give them back; `POST /_keys` in docs/emulator.md lists them."""
        self.control("POST", "/_keys", {"api_key": api_key, **permissions})

    def fault(self, do: str, **fields: object) -> int:
        """Put a fault rule in force, or have it wait for its time, and return its number."""
        return int(self.control("POST", "/_fault", {"do": do, **fields})["id"])

    def log(self, method: str = "POST", path: str = "/api/v3/order") -> Any:
        """Return the requests of a method and path that `GET /_log` remembers, oldest first."""
        return self.control("GET", "/_log?" + urllib.parse.urlencode({"method": method, "path": path}))["entries"]

    def advance(self, minutes: float) -> None:
        """Move a paused market forward."""
        self.control("POST", "/_advance", {"minutes": minutes})

    def advance_ms(self, duration_ms: int) -> None:
        """Move a virtual clock forward."""
        self.control("POST", "/_advance", {"ms": duration_ms})

    def price(self, price: float | str, *, quantity: str | None = None, symbol: str = "BTCUSDT") -> None:
        """Let one trade happen at a price, of one step if no quantity is given."""
        size = {} if quantity is None else {"quantity": quantity}
        self.control("POST", "/_price", {"symbol": symbol, "price": str(price), **size})

    def depth(self, *, bids: Sequence[tuple[str, str]], asks: Sequence[tuple[str, str]], symbol: str = "BTCUSDT") -> None:
        """Show these offers, (price, quantity) with the best first, instead of the market's own."""
        self.control("POST", "/_depth", {"symbol": symbol, "bids": bids, "asks": asks})

    def set_limits(self, **limits: float | None) -> None:
        """Change limits; what is not named stays."""
        self.control("POST", "/_limits", limits)

    def verdict(self, fills: Mapping[str, Mapping[str, str]] | None = None) -> Any:
        """Return the verdict on the running scenario; `fills` are the client's, per API key and client order id a base quantity."""
        return self.control("GET", "/_verdict") if fills is None else self.control("POST", "/_verdict", {"fills": fills})

    def state(self) -> Any:
        """Return `GET /_state`."""
        return self.control("GET", "/_state")

    def orders(self) -> Any:
        """Return `GET /_orders`: all orders with `received_ns`."""
        return self.control("GET", "/_orders")


def _lowered(headers: Message) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedClient:
    """A bare signed client, to send what ccxt would refuse to send. `ip` is the address it claims, its own if None."""

    emulator: EmulatorProcess
    api_key: str
    api_secret: str
    ip: str | None = None

    def call(self, method: str, path: str, params: Mapping[str, object] | None = None, *, timestamp: int | None = None) -> Reply:
        """Send a signed request; POST puts the parameters into the body. `timestamp` in ms replaces the present."""
        text = signed_text(self.api_secret, params or {}, timestamp=timestamp)
        headers = {"X-MBX-APIKEY": self.api_key, "Content-Type": "application/x-www-form-urlencoded"}
        if self.ip is not None:
            headers["X-Emulated-IP"] = self.ip
        if method == "POST":
            return self.emulator.request(method, path, body=text.encode(), headers=headers)
        return self.emulator.request(method, f"{path}?{text}", headers=headers)

    def order(self, **params: str | int) -> Reply:
        """POST /api/v3/order."""
        return self.call("POST", "/api/v3/order", params)

    def placed(self) -> list[Any]:
        """Return the account's orders as `GET /_orders` shows them."""
        return [order for order in self.emulator.orders() if order["api_key"] == self.api_key]


def signed_text(api_secret: str, params: Mapping[str, object], *, timestamp: int | None = None) -> str:
    """Return `params` form-encoded with timestamp and signature, as query string or body."""
    moment = timestamp if timestamp is not None else time.time_ns() // 1_000_000
    text = urllib.parse.urlencode({**params, "timestamp": moment})
    return f"{text}&signature={hmac.new(api_secret.encode(), text.encode(), hashlib.sha256).hexdigest()}"


def write_candles(path: Path, rows: Iterable[Sequence[object]]) -> Path:
    """Write a replay file of `(open_time, open, high, low, close, volume)` rows."""
    path.write_text("\n".join([HEADER, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def steps(prices: Iterable[float], *, first_ms: int = 1_700_000_040_000, volume: str = "48") -> list[tuple[object, ...]]:
    """Return candles that go straight from each price to the next, one a minute."""
    listed = list(prices)
    return [(first_ms + index * MINUTE_MS, a, max(a, b), min(a, b), b, volume) for index, (a, b) in enumerate(pairwise(listed))]
