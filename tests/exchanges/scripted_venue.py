"""A server that speaks just enough Binance to say what a test tells it to: the wire is real, the answers are scripted."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

SYMBOL = {
    "symbol": "BTCUSDT",
    "status": "TRADING",
    "baseAsset": "BTC",
    "quoteAsset": "USDT",
    "baseAssetPrecision": 8,
    "quotePrecision": 8,
    "quoteAssetPrecision": 8,
    "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"],
    "isSpotTradingAllowed": True,
    "permissions": ["SPOT"],
    "permissionSets": [["SPOT"]],
    "filters": [
        {"filterType": "PRICE_FILTER", "minPrice": "0.01000000", "maxPrice": "1000000.00000000", "tickSize": "0.01000000"},
        {"filterType": "LOT_SIZE", "minQty": "0.00001000", "maxQty": "9000.00000000", "stepSize": "0.00001000"},
        {"filterType": "NOTIONAL", "minNotional": "5.00000000", "maxNotional": "9000000.00000000"},
    ],
}

FILLED_ORDER = {
    "symbol": "BTCUSDT",
    "orderId": 28,
    "orderListId": -1,
    "clientOrderId": "q00000000000000001",
    "transactTime": 1617151923742,
    "price": "0.00000000",
    "origQty": "0.00300000",
    "executedQty": "0.00300000",
    "cummulativeQuoteQty": "176.80000000",
    "status": "FILLED",
    "timeInForce": "GTC",
    "type": "MARKET",
    "side": "BUY",
    "fills": [
        {"price": "58900.00000000", "qty": "0.00100000", "commission": "0.00000100", "commissionAsset": "BTC", "tradeId": 56},
        {"price": "58950.00000000", "qty": "0.00200000", "commission": "0.00004000", "commissionAsset": "BNB", "tradeId": 57},
    ],
}


@dataclass
class ScriptedVenue:
    """`answers` maps "METHOD /path" to what is answered; `requests` holds what came, with its parameters."""

    url: str = ""
    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def parameters(self, name: str) -> dict[str, str]:
        """Return the parameters of the only request `name`."""
        (found,) = [parameters for asked, parameters in self.requests if asked == name]
        return found

    def count(self, name: str) -> int:
        """Return how many requests `name` came."""
        return sum(asked == name for asked, _ in self.requests)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Note the request and answer as scripted."""
        name = f"{request.method} {request.path.removeprefix('/api/v3')}"
        body = await request.text()
        self.requests.append((name, dict(parse_qsl(request.query_string) + parse_qsl(body))))
        if name in self.answers:
            return await self.answers[name](request)
        if name == "GET /exchangeInfo":
            return web.json_response({"symbols": [SYMBOL], "serverTime": int(time.time() * 1000)})
        if name == "GET /time":
            return web.json_response({"serverTime": int(time.time() * 1000)})
        return web.json_response({"code": -1, "msg": f"not scripted: {name}"}, status=404)


def says(payload: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    """Answer with JSON."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response(payload, status=status, headers=headers)

    return answer


def says_text(text: str, *, status: int = 200, content_type: str = "text/html") -> Answer:
    """Answer with text."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(text=text, status=status, content_type=content_type)

    return answer


def hangs_up() -> Answer:
    """Close the connection without a word."""

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    return answer


def says_half() -> Answer:
    """Promise more than is sent, then close."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "500", "Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(b'{"symbol":"BTCUSDT","orderId":28,')
        assert request.transport is not None
        request.transport.abort()
        return response

    return answer


def waits(event: asyncio.Event) -> Answer:
    """Say nothing until `event`."""

    async def answer(request: web.Request) -> web.StreamResponse:
        await event.wait()
        return web.json_response({})

    return answer


@asynccontextmanager
async def scripted_venue() -> AsyncIterator[ScriptedVenue]:
    """Run a scripted venue on a free loopback port."""
    venue = ScriptedVenue()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", venue.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    venue.url = f"http://127.0.0.1:{port}"
    try:
        yield venue
    finally:
        await runner.cleanup()
