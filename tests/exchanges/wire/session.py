"""The bottom of ccxt's HTTP: takes what would have left the machine, and answers what a test laid down. Nothing reaches a network."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

#: Different in each run: clocks, nonces, signatures, and what is derived from them.
MASKED: Final = frozenset({"timestamp", "nonce", "signature", "_"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the venue says to one request."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One request as it would have left: `parameters` holds the query and the body, form or JSON."""

    method: str
    host: str
    path: str
    parameters: Any
    headers: Mapping[str, str]

    @property
    def name(self) -> str:
        """Return `METHOD /path`."""
        return f"{self.method} {self.path}"

    def as_golden(self) -> dict[str, Any]:
        """Return what a golden file holds: no clock, no secret, sorted."""
        return {"request": f"{self.method} https://{self.host}{self.path}", "parameters": _masked(self.parameters)}


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: "(masked)" if key in MASKED else _masked(value[key]) for key in sorted(value)}
    return [_masked(each) for each in value] if isinstance(value, list) else value


class _Response:
    def __init__(self, answer: Answer) -> None:
        self.status = answer.status
        self.reason = "OK" if answer.status < 400 else "Error"
        self.headers = {"Content-Type": "application/json", **answer.headers}
        self._text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)

    async def text(self, errors: str = "strict") -> str:
        del errors
        return self._text

    async def __aenter__(self) -> "_Response":
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None


class RecordingSession:
    """Stands where ccxt expects an `aiohttp.ClientSession`. `answers` maps "METHOD /path" to answers; the last one is repeated."""

    def __init__(self, answers: Mapping[str, list[Answer]] | None = None) -> None:
        self.answers: dict[str, list[Answer]] = dict(answers or {})
        self.sent: list[Sent] = []
        self.headers: dict[str, str] = {}

    def _call(self, method: str) -> Callable[..., _Response]:
        def request(url: Any, *, data: bytes | None, headers: Mapping[str, str], timeout: object, proxy: object) -> _Response:
            del timeout, proxy
            parts = urlsplit(str(url))
            sent = Sent(method=method, host=parts.netloc, path=parts.path, parameters=_parameters(parts.query, data), headers=dict(headers))
            self.sent.append(sent)
            waiting = self.answers.get(sent.name)
            if not waiting:
                raise AssertionError(f"no answer was laid down for {sent.name} {sent.parameters}")
            return _Response(waiting.pop(0) if len(waiting) > 1 else waiting[0])

        return request

    def __getattr__(self, name: str) -> Callable[..., _Response]:
        if name in ("get", "post", "put", "delete", "patch"):
            return self._call(name.upper())
        raise AttributeError(name)

    async def close(self) -> None:
        """Nothing to close."""


def _parameters(query: str, data: bytes | None) -> Any:
    found: dict[str, Any] = dict(parse_qsl(query, keep_blank_values=True))
    if data is None:
        return found
    text = data.decode()
    if text.startswith(("{", "[")):
        body = json.loads(text, parse_float=str)
        return body if isinstance(body, list) else {**found, **body}
    return {**found, **dict(parse_qsl(text, keep_blank_values=True))}
