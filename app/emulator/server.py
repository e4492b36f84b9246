"""The HTTP face: routing, authentication, faults, streams. Loopback only."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from urllib.parse import unquote

import orjson
import structlog
from aiohttp import web

from app.emulator import rest_limits, rest_lists, rest_market, rest_replace, rest_trade, signature
from app.emulator.calls import Call, SignedCall
from app.emulator.config import EmulatorConfig
from app.emulator.control import add_control_routes
from app.emulator.control_market import add_market_control_routes
from app.emulator.control_rules import add_rule_control_routes
from app.emulator.errors import VenueError
from app.emulator.fault_actions import apply_fault, hang_up
from app.emulator.journal import Entry
from app.emulator.limits import LimitExceeded
from app.emulator.requests import Received, ip_of, read_request
from app.emulator.rest_replace import HALF_DONE
from app.emulator.venue import Venue, build_venue, keep_state, save_state
from app.emulator.verdict import Verdict, judge
from app.emulator.weights import API_CONNECT, is_free_on_success, orders_of, weight_of

log = structlog.get_logger(__name__)

_PARENT_POLL_S = 0.5
_MAX_BODY = 64 * 1024

SocketHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PUBLIC: dict[tuple[str, str], Callable[[Venue, Call], object]] = {
    ("GET", "/api/v3/ping"): rest_market.ping,
    ("GET", "/api/v3/time"): rest_market.server_time,
    ("GET", "/api/v3/exchangeInfo"): rest_market.exchange_info,
    ("GET", "/api/v3/ticker/24hr"): rest_market.ticker_day,
    ("GET", "/api/v3/ticker/price"): rest_market.ticker_price,
    ("GET", "/api/v3/ticker/bookTicker"): rest_market.ticker_book,
    ("GET", "/api/v3/avgPrice"): rest_market.average_price,
    ("GET", "/api/v3/depth"): rest_market.depth,
    ("GET", "/api/v3/klines"): rest_market.klines,
    ("GET", "/api/v3/uiKlines"): rest_market.klines,
    ("GET", "/api/v3/aggTrades"): rest_market.aggregate_trades,
    ("GET", "/api/v3/trades"): rest_market.trades,
}
SIGNED: dict[tuple[str, str], Callable[[Venue, SignedCall], object]] = {
    ("POST", "/api/v3/order"): rest_trade.place_order,
    ("POST", "/api/v3/order/test"): rest_trade.check_order,
    ("GET", "/api/v3/order"): rest_trade.query_order,
    ("DELETE", "/api/v3/order"): rest_trade.cancel_order,
    ("GET", "/api/v3/openOrders"): rest_trade.open_orders,
    ("DELETE", "/api/v3/openOrders"): rest_trade.cancel_open_orders,
    ("GET", "/api/v3/allOrders"): rest_trade.all_orders,
    ("GET", "/api/v3/myTrades"): rest_trade.my_trades,
    ("GET", "/api/v3/account"): rest_trade.account,
    ("GET", "/api/v3/account/commission"): rest_trade.commission,
    ("GET", "/api/v3/rateLimit/order"): rest_limits.order_counts,
    ("GET", "/sapi/v1/asset/tradeFee"): rest_trade.trade_fee,
    ("GET", "/sapi/v1/account/apiRestrictions"): rest_trade.key_rights,
    ("POST", "/api/v3/orderList/oco"): rest_lists.place_oco,
    ("POST", "/api/v3/orderList/oto"): rest_lists.place_oto,
    ("POST", "/api/v3/orderList/otoco"): rest_lists.place_otoco,
    ("POST", "/api/v3/order/oco"): rest_lists.place_old_oco,
    ("GET", "/api/v3/orderList"): rest_lists.query_list,
    ("DELETE", "/api/v3/orderList"): rest_lists.cancel_list,
    ("GET", "/api/v3/openOrderList"): rest_lists.open_lists,
    ("POST", "/api/v3/order/cancelReplace"): rest_replace.cancel_replace,
    ("PUT", "/api/v3/order/amend/keepPriority"): rest_replace.amend_order,
    ("GET", "/api/v3/order/amendments"): rest_replace.amendments,
    ("GET", "/api/v3/allOrderList"): rest_lists.all_lists,
}

_LONG_ANSWERS = ("GET", "/api/v3/klines")


def build_app(venue: Venue) -> web.Application:
    """Return the web application of a venue."""
    app = web.Application(client_max_size=_MAX_BODY)

    async def rest(request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        received = read_request(request, raw, received_ns=venue.clock.wall.now_ns())
        entry = venue.journal.add(received, time=venue.clock.wall_now())
        rule = venue.faults.take(received)
        if received.key == _LONG_ANSWERS and received.malformed is None:
            with suppress(VenueError):  # the answer says what is wrong
                await rest_market.sum_up(venue, Call(params=received.given, received_ns=received.received_ns))
        if rule is None:
            response = _answer(venue, received, entry)
            entry.status = response.status
            return response
        entry.fault = rule.do
        faulty = await apply_fault(rule, request, lambda: _answer(venue, received, entry))
        if faulty is None:
            return hang_up(request)
        entry.status = faulty.status
        if not faulty.prepared:
            _tell_weight(venue, faulty, received.ip)
        return faulty

    async def combined(request: web.Request) -> web.StreamResponse:
        names = unquote(request.rel_url.query.get("streams", "")).split("/")
        return await venue.hub.serve(request, [name for name in names if name], is_combined=True)

    async def raw_streams(request: web.Request) -> web.StreamResponse:
        names = request.match_info.get("names", "").split("/")
        return await venue.hub.serve(request, [name for name in names if name], is_combined=False)

    async def ws_api(request: web.Request) -> web.StreamResponse:
        return await venue.ws_api.serve(request, venue.sockets)

    add_control_routes(app.router, venue)
    add_market_control_routes(app.router, venue)
    add_rule_control_routes(app.router, venue)
    app.router.add_get("/ws-api/v3", _admitted(venue, ws_api, weight=API_CONNECT))
    app.router.add_get("/stream", _admitted(venue, combined))
    app.router.add_get("/ws", _admitted(venue, raw_streams))
    app.router.add_get("/ws/{names:.*}", _admitted(venue, raw_streams))
    app.router.add_route("*", "/{path:.*}", rest)
    return app


def _answer(venue: Venue, received: Received, entry: Entry) -> web.Response:
    limits, weight = venue.limits, weight_of(received.key, received.given)
    try:
        limits.admit(received.ip, weight)
        response = _json(_execute(venue, received), status=200)
    except VenueError as error:
        response = _refusal(error)
        entry.is_executed = error.code == HALF_DONE
    else:
        entry.is_executed = True
        if is_free_on_success(received.key):
            limits.give_back(received.ip, weight)
        if orders_of(received.key):
            ten_seconds, day = limits.order_counts(received.api_key or "")
            response.headers["X-MBX-ORDER-COUNT-10S"], response.headers["X-MBX-ORDER-COUNT-1D"] = str(ten_seconds), str(day)
    _tell_weight(venue, response, received.ip)
    return response


def _tell_weight(venue: Venue, response: web.StreamResponse, ip: str) -> None:
    used = str(venue.limits.used_weight(ip))
    response.headers["X-MBX-USED-WEIGHT"] = response.headers["X-MBX-USED-WEIGHT-1M"] = used


def _refusal(error: VenueError) -> web.Response:
    response = _json(error.describe(), status=error.status)
    if isinstance(error, LimitExceeded):
        response.headers["Retry-After"] = str(error.retry_after_s)
    return response


def _admitted(venue: Venue, serve: SocketHandler, *, weight: int = 0) -> SocketHandler:
    """Let `serve` have only the handshakes of those who may connect."""

    async def admitted(request: web.Request) -> web.StreamResponse:
        try:
            venue.limits.admit_connection(ip_of(request), weight)
        except VenueError as error:
            return _refusal(error)
        return await serve(request)

    return admitted


def _execute(venue: Venue, received: Received) -> object:
    if received.malformed is not None:
        raise received.malformed
    public = PUBLIC.get(received.key)
    if public is not None:
        return public(venue, Call(params=received.given, received_ns=received.received_ns))
    signed = SIGNED.get(received.key)
    if signed is None:
        raise VenueError(-1000, f"This venue has no {received.method} {received.path}.", status=404)
    call, orders = _authenticate(venue, received), orders_of(received.key)
    if not orders:
        return signed(venue, call)
    venue.limits.admit_orders(call.account.api_key, orders)
    try:
        return signed(venue, call)
    except VenueError as error:
        if error.data is None:  # a replacement that failed counts, attempted or not
            venue.limits.give_back_orders(call.account.api_key, orders)
        raise


def _authenticate(venue: Venue, received: Received) -> SignedCall:
    api_key = signature.check_key_format(received.api_key)
    payload, given_signature = signature.split_signature(received.query, received.body)
    signature.check_timestamp(received.given, venue.clock.wall_now())
    account = venue.exchange.owner(api_key, is_trade=received.method != "GET")
    signature.check_signature(account.api_secret, payload, given_signature)
    return SignedCall(
        params={name: value for name, value in received.given.items() if name != "signature"},
        received_ns=received.received_ns,
        account=account,
    )


def _json(document: object, *, status: int) -> web.Response:
    return web.Response(body=orjson.dumps(document), status=status, content_type="application/json")


async def run(config: EmulatorConfig, *, on_ready: Callable[[str], None], stop: asyncio.Event | None = None) -> Verdict | None:
    """Serve one emulator until `stop` is set, SIGTERM or SIGINT arrives, or the parent process is gone.

    Args:
        config: What to serve.
        on_ready: Called once with the base URL, when requests are answered.
        stop: Set by the caller to stop; a new event if None.

    Returns:
        Whether the run was as the configuration expects, None if it expects nothing.

    Raises:
        ConfigError: see `build_venue`.
    """
    stopping = stop or asyncio.Event()
    venue = build_venue(config)
    runner = web.AppRunner(build_app(venue), access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, config.host, config.port)
        await site.start()
        _stop_on_signals(stopping)
        async with asyncio.TaskGroup() as group:
            loops = [
                group.create_task(venue.feed.run(), name="emulator-feed"),
                group.create_task(venue.timeline.run(), name="emulator-timeline"),
                group.create_task(keep_state(venue), name="emulator-state"),
            ]
            if config.parent_pid is not None:
                loops.append(group.create_task(_watch_parent(config.parent_pid, stopping), name="emulator-parent"))
            on_ready(_url(runner))
            await stopping.wait()
            for loop in loops:
                loop.cancel()
    finally:
        venue.sockets.abort_all()
        await runner.cleanup()
        save_state(venue)
        log.info("the emulator has stopped")
    return judge(venue, config.expect) if config.expect is not None else None


def _url(runner: web.AppRunner) -> str:
    host, port = runner.addresses[0][:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _stop_on_signals(stopping: asyncio.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError):  # Windows loops have no signal handlers; there the parent's watch ends us
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)


async def _watch_parent(pid: int, stopping: asyncio.Event) -> None:
    is_child = os.getppid() == pid
    while not stopping.is_set():
        # Our own parent's death shows in getppid even while its pid lingers as a zombie.
        if not (os.getppid() == pid if is_child else _is_alive(pid)):
            log.info("the parent process is gone", parent_pid=pid)
            stopping.set()
        await asyncio.sleep(_PARENT_POLL_S)


def _is_alive(pid: int) -> bool:
    if sys.platform == "win32":
        return False  # os.kill would end that process; only a real parent can be watched there
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
