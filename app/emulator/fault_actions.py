"""What a fault does to one request's answer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import orjson
from aiohttp import web

from app.emulator.fault_rules import FaultRule

BAD_GATEWAY = b"<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center></body></html>"
WAF = b"<html><head><title>403 Forbidden</title></head><body><center><h1>403 Forbidden</h1></center></body></html>"
OVERLOADED = {"code": -1008, "msg": "Server is currently overloaded with other requests. Please try again in a few minutes."}
_MISSING_BYTES = 64

Execute = Callable[[], web.Response]
Action = Callable[[FaultRule, web.Request, Execute], Awaitable[web.StreamResponse | None]]


async def apply_fault(rule: FaultRule, request: web.Request, execute: Execute) -> web.StreamResponse | None:
    """Answer `request` the way `rule` says, or break its connection and return None.

    Args:
        rule: The fault.
        request: The request.
        execute: Does what was asked and returns the honest answer.
    """
    return await _ACTIONS[rule.do](rule, request, execute)


def hang_up(request: web.Request) -> web.Response:
    """Break the connection; the answer that is returned reaches nobody."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _drop_before(_rule: FaultRule, _request: web.Request, _execute: Execute) -> None:
    return None


async def _drop_after(_rule: FaultRule, _request: web.Request, execute: Execute) -> None:
    execute()


async def _delay(rule: FaultRule, _request: web.Request, execute: Execute) -> web.Response:
    response = execute()
    await asyncio.sleep(rule.delay_ms / 1000)
    return response


async def _delay_before(rule: FaultRule, _request: web.Request, execute: Execute) -> web.Response:
    await asyncio.sleep(rule.delay_ms / 1000)
    return execute()


async def _slow_body(rule: FaultRule, request: web.Request, execute: Execute) -> web.StreamResponse:
    honest = execute()
    body = _body(honest)
    response = web.StreamResponse(status=honest.status, headers={"Content-Type": "application/json"})
    response.content_length = len(body)
    await response.prepare(request)
    # One byte at a time, more only when a millisecond each would take longer than asked for.
    size = max(1, -(-len(body) // max(1, rule.delay_ms)))
    pause_s = rule.delay_ms / 1000 * size / max(1, len(body))
    for start in range(0, len(body), size):
        await asyncio.sleep(pause_s)
        await response.write(body[start : start + size])
    return response


async def _status_before(rule: FaultRule, _request: web.Request, _execute: Execute) -> web.Response:
    return _answer(rule.status, rule.body, headers=rule.headers)


async def _status_after(rule: FaultRule, _request: web.Request, execute: Execute) -> web.Response:
    execute()
    return _answer(rule.status, rule.body, headers=rule.headers)


async def _truncate(_rule: FaultRule, request: web.Request, execute: Execute) -> web.StreamResponse:
    honest = execute()
    body = _body(honest)
    response = web.StreamResponse(status=honest.status, headers={"Content-Type": "application/json"})
    response.content_length = len(body) + _MISSING_BYTES
    await response.prepare(request)
    await response.write(body[: max(1, len(body) // 2)])
    if request.transport is not None:
        request.transport.close()
    return response


async def _html(_rule: FaultRule, _request: web.Request, execute: Execute) -> web.Response:
    execute()
    return web.Response(body=BAD_GATEWAY, content_type="text/html")


async def _empty(_rule: FaultRule, _request: web.Request, execute: Execute) -> web.Response:
    execute()
    return _answer(200, {})


async def _id_none(_rule: FaultRule, _request: web.Request, execute: Execute) -> web.Response:
    honest = execute()
    document = orjson.loads(_body(honest))
    if honest.status == web.HTTPOk.status_code and isinstance(document, dict):
        return _answer(200, {**document, "orderId": None})
    return honest


async def _waf_403(_rule: FaultRule, _request: web.Request, _execute: Execute) -> web.Response:
    return web.Response(body=WAF, status=403, content_type="text/html")


async def _unavailable_1008(rule: FaultRule, _request: web.Request, execute: Execute) -> web.Response:
    if rule.executed:
        execute()
    return _answer(503, OVERLOADED)


_ACTIONS: Mapping[str, Action] = {
    "drop_before": _drop_before,
    "drop_after": _drop_after,
    "delay": _delay,
    "delay_before": _delay_before,
    "slow_body": _slow_body,
    "status_before": _status_before,
    "status_after": _status_after,
    "truncate": _truncate,
    "html": _html,
    "empty": _empty,
    "id_none": _id_none,
    "waf_403": _waf_403,
    "unavailable_1008": _unavailable_1008,
}


def _body(response: web.Response) -> bytes:
    return response.body if isinstance(response.body, bytes) else b""


def _answer(status: int, document: object, *, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=orjson.dumps(document), status=status, headers=headers, content_type="application/json")
