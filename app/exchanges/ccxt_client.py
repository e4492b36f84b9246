"""One broker account at any exchange that ccxt knows, behind our port. It never repeats a write, and guesses no outcome."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import structlog

from app.core.clock import Clock
from app.domain.candles import Candle, Timeframe, from_milliseconds, to_milliseconds
from app.domain.enums import OrderType, TimeInForce
from app.domain.instruments import Instrument
from app.domain.orders import Fill, Reported
from app.errors import AppError, ExchangeError, ExchangeUnavailable, NotSent, OutcomeUnknown, RetryableError, Unsupported
from app.exchanges import reports
from app.exchanges.capabilities import capabilities_of
from app.exchanges.errors import Outcome, classify, is_clock_error, is_unknown_order, read_error, scrub, write_error
from app.exchanges.identity import identity_of
from app.exchanges.markets import MarketsSource
from app.exchanges.port import (
    Balance,
    Guard,
    OcoReport,
    OcoRequest,
    OrderRequest,
    ReplaceOutcome,
    Ticker,
    VenueOrder,
    VenueTrade,
)
from app.exchanges.venue_class import CURRENT_CALL, RunningCall
from app.exchanges.venue_setup import RECV_WINDOW_MS

log = structlog.get_logger(__name__)

_WRITE_TIMEOUT_MS: Final = 5_000
_READ_TIMEOUT_MS: Final = 10_000
_MOST_CANDLES: Final = 1_000
_MOST_TRADES: Final = 1_000
_BINANCE_FAMILY: Final = frozenset({"binance", "binanceus"})
#: What carries the trigger where a request was seen to arrive as a real stop order. Elsewhere ccxt drops it on some venues, and
#: the "stop" would trade at once: such orders are refused here.
_TRIGGER_PARAMETERS: Final = {OrderType.STOP_LIMIT: "stopLossPrice", OrderType.TAKE_PROFIT_LIMIT: "takeProfitPrice"}
#: What reading an answer of another shape than expected raises.
UNREADABLE: Final = (ArithmeticError, AttributeError, LookupError, OverflowError, TypeError, ValueError)


@contextmanager
def _reading(what: str) -> Iterator[None]:
    try:
        yield
    except UNREADABLE as error:
        raise ExchangeUnavailable(f"the exchange's answer cannot be read ({what})") from error


class CcxtClient:
    """An `ExchangeClient` over ccxt. Made by the registry, which shares the markets and the HTTP session among all of them."""

    def __init__(self, exchange: Any, source: MarketsSource, *, clock: Clock) -> None:
        self.exchange: str = source.exchange
        self._ccxt = exchange
        self._source = source
        self._clock = clock
        self._generation = 0
        self.capabilities = capabilities_of(self.exchange)
        self._identity = identity_of(self.exchange)
        self._is_binance = self.exchange in _BINANCE_FAMILY

    def __repr__(self) -> str:
        return f"CcxtClient({self.exchange})"

    async def instruments(self) -> dict[str, Instrument]:
        """Return the venue's spot instruments by unified symbol."""
        await self._ready()
        return {listing.instrument.symbol: listing.instrument for listing in self._source.listings()}

    async def place_order(self, request: OrderRequest, *, guard: Guard) -> Reported:
        """Send exactly one request; never repeated here. Raises as the port says."""
        try:
            await self._ready()
        except RetryableError as error:
            raise NotSent("the exchange's symbols could not be read; the order was not sent") from error
        arguments = self._order_arguments(request)
        call = RunningCall(timeout_ms=_WRITE_TIMEOUT_MS, guard=guard)
        token = CURRENT_CALL.set(call)
        try:
            order = await self._ccxt.create_order(*arguments)
        except AppError:
            raise  # the guard's own refusal
        except Exception as error:  # noqa: BLE001  # whatever it is, the request may have left: it becomes ours and is raised
            raise await self._refused(error, call) from scrub(error)
        finally:
            CURRENT_CALL.reset(token)
        return self._acknowledged(order, call)

    async def place_oco(self, request: OcoRequest, *, guard: Guard) -> OcoReport:
        """Refuse: no venue's capabilities promise it yet."""
        del guard
        raise Unsupported(f"{self.exchange} has no order pairs for {request.target.symbol} that this version sends")

    async def replace_order(
        self, request: OrderRequest, *, old_client_order_id: str, old_venue_order_id: str | None, guard: Guard
    ) -> ReplaceOutcome:
        """Refuse: no venue's capabilities promise it yet."""
        del old_client_order_id, old_venue_order_id, guard
        raise Unsupported(f"{self.exchange} cannot replace an order of {request.symbol} in one step")

    async def cancel_order(
        self, symbol: str, *, client_order_id: str, venue_order_id: str | None, type: OrderType = OrderType.LIMIT
    ) -> Reported | None:
        """Ask the venue to cancel; None when it does not know the order (ask again before believing it)."""
        del type
        if venue_order_id is None and not self._identity.finds_by_client_id:
            found = await self._find(symbol, client_order_id, venue_order_id=None)
            if found is None:
                return None
            venue_order_id = str(found["id"])
        await self._ready()
        arguments = self._lookup(symbol, client_order_id, venue_order_id)
        call = RunningCall(timeout_ms=_WRITE_TIMEOUT_MS)
        token = CURRENT_CALL.set(call)
        try:
            order = await self._ccxt.cancel_order(*arguments)
        except Exception as error:  # noqa: BLE001  # as in place_order
            if is_unknown_order(error, call=call):
                return None
            raise await self._refused(error, call) from scrub(error)
        finally:
            CURRENT_CALL.reset(token)
        if classify(order, None, exchange=self.exchange, call=call) is not Outcome.ACKNOWLEDGED:
            raise OutcomeUnknown("the exchange's answer does not say whether the order was canceled; it is being looked up")
        try:
            report = reports.order_report(order, is_acknowledgement=True)
        except UNREADABLE as error:
            raise OutcomeUnknown("the exchange's answer to the cancellation cannot be read; it is being looked up") from error
        if self._is_binance and not report.filled_quantity:
            return report
        return await self._completed(symbol, client_order_id, report)

    async def fetch_order(
        self, symbol: str, *, client_order_id: str, venue_order_id: str | None, type: OrderType = OrderType.LIMIT
    ) -> Reported | None:
        """Return what the venue knows of the order, with its fills, or None when it does not know it."""
        del type
        order = await self._find(symbol, client_order_id, venue_order_id=venue_order_id)
        if order is None:
            return None
        with _reading("order"):
            report = reports.order_report(order)
        if not report.filled_quantity:
            return report
        return replace(report, fills=await self._fills(symbol, report.venue_order_id))

    async def fetch_open_orders(self, symbol: str | None = None) -> list[VenueOrder]:
        """Return the account's open orders, ours or not, without their fills."""
        if symbol is None and not self.capabilities.lists_all_open_orders:
            raise Unsupported(f"{self.exchange} lists open orders of one symbol at a time")
        return self._listed(await self._read(self._ccxt.fetch_open_orders, symbol))

    async def fetch_recent_orders(self, symbol: str, *, since: datetime) -> list[VenueOrder]:
        """Return the orders of `symbol` created since then, finished ones too, without their fills."""
        if not self._ccxt.has.get("fetchOrders"):
            raise Unsupported(f"{self.exchange} does not list its finished orders")
        return self._listed(await self._read(self._ccxt.fetch_orders, symbol, to_milliseconds(since)))

    async def fetch_trades(self, symbol: str, *, after_trade_id: str | None = None, since: datetime | None = None) -> list[VenueTrade]:
        """Return the account's executions in `symbol`, oldest first."""
        parameters: dict[str, Any] = {}
        if after_trade_id is not None and self.capabilities.trades_by_id:
            parameters["fromId"] = str(int(after_trade_id) + 1)
        milliseconds = None if since is None or parameters else to_milliseconds(since)
        trades = await self._read(self._ccxt.fetch_my_trades, symbol, milliseconds, _MOST_TRADES if self._is_binance else None, parameters)
        with _reading("trades"):
            return reports.account_trades(trades, quote=symbol.partition("/")[2])

    def _listed(self, orders: Any) -> list[VenueOrder]:
        with _reading("orders"):
            return [reports.venue_order(order) for order in orders]

    async def fetch_balances(self) -> dict[str, Balance]:
        """Return the account's assets that are not zero, by asset."""
        reply = await self._read(self._ccxt.fetch_balance)
        with _reading("balances"):
            return reports.balances(reply)

    async def fetch_ticker(self, symbol: str) -> Ticker:
        """Return the best prices of one symbol."""
        reply = await self._read(self._ccxt.fetch_ticker, symbol)
        with _reading("price"):
            ticker = reports.ticker(symbol, reply, fallback_ms=to_milliseconds(self._clock.now()))
        if ticker is None:
            raise ExchangeUnavailable(f"the exchange has no price for {symbol}")
        return ticker

    async def fetch_candles(
        self, symbol: str, timeframe: Timeframe, *, start: datetime | None = None, end: datetime | None = None, limit: int = _MOST_CANDLES
    ) -> list[Candle]:
        """Return at most 1000 candles oldest first, open times in [start, end]; the last may still be open."""
        since = None if start is None else to_milliseconds(start)
        parameters = {} if end is None else {"until": to_milliseconds(end)}
        rows = await self._read(self._ccxt.fetch_ohlcv, symbol, timeframe.value, since, min(limit, _MOST_CANDLES), parameters)
        with _reading("candles"):
            return [reports.candle(row) for row in rows]

    async def server_time(self) -> datetime:
        """Return the venue's clock."""
        reply = await self._read(self._ccxt.fetch_time)
        with _reading("clock"):
            return from_milliseconds(int(reply))

    async def close(self) -> None:
        """Let go of the shared session; the client is dead afterwards."""
        await self._ccxt.close()

    async def _ready(self) -> None:
        await self._source.ensure()
        if self._generation != self._source.generation:
            self._ccxt.set_markets_from_exchange(self._source.shared)
            self._generation = self._source.generation
        if "timeDifference" in self._ccxt.options:
            self._ccxt.options["timeDifference"] = self._source.time_difference_ms

    def _order_arguments(self, request: OrderRequest) -> tuple[Any, ...]:
        parameters: dict[str, Any] = {self._identity.create_parameter: request.client_order_id}
        if self._is_binance:
            # The venue is the fence: it refuses what was claimed longer ago than the window, by its own clock.
            parameters["timestamp"] = to_milliseconds(request.sent_at) - self._source.time_difference_ms
            parameters["recvWindow"] = RECV_WINDOW_MS
        if request.post_only:
            parameters["postOnly"] = True
        elif request.type is not OrderType.MARKET and request.time_in_force is not TimeInForce.GTC:
            parameters["timeInForce"] = request.time_in_force.value.upper()
        if request.type in _TRIGGER_PARAMETERS:
            if not self._is_binance or request.trigger_price is None:
                raise Unsupported(f"stop orders are not sent to {self.exchange} by this version")
            parameters[_TRIGGER_PARAMETERS[request.type]] = f"{request.trigger_price:f}"
        kind = "market" if request.type is OrderType.MARKET else "limit"
        price = None if request.price is None or request.type is OrderType.MARKET else f"{request.price:f}"
        return request.symbol, kind, request.side.value, f"{request.quantity:f}", price, parameters

    def _acknowledged(self, order: Any, call: RunningCall) -> Reported:
        if classify(order, None, exchange=self.exchange, call=call) is not Outcome.ACKNOWLEDGED:
            raise write_error(None, exchange=self.exchange, call=call)
        try:
            fills = reports.binance_fills(order["info"]) if self._is_binance else ()
            return reports.order_report(order, fills=fills, is_acknowledgement=True)
        except UNREADABLE as error:
            raise OutcomeUnknown("the exchange took the order, but its answer cannot be read; it is being looked up") from error

    async def _refused(self, error: Exception, call: RunningCall) -> ExchangeError:
        if is_clock_error(error, exchange=self.exchange, call=call):
            await self._resync_clock()
        refusal = write_error(error, exchange=self.exchange, call=call)
        log.info("write_refused", exchange=self.exchange, code=refusal.code, venue_code=refusal.venue_code, status=call.status)
        return refusal

    async def _resync_clock(self) -> None:
        token = CURRENT_CALL.set(RunningCall(timeout_ms=_WRITE_TIMEOUT_MS))
        try:
            await self._source.resync_clock(self._ccxt.fetch_time)
        finally:
            CURRENT_CALL.reset(token)

    async def _completed(self, symbol: str, client_order_id: str, report: Reported) -> Reported:
        """A cancel's answer has no fills; when they cannot be read now, the bare report still stands."""
        try:
            full = await self.fetch_order(symbol, client_order_id=client_order_id, venue_order_id=report.venue_order_id)
        except ExchangeError:
            return report
        return full or report

    async def _find(self, symbol: str, client_order_id: str, *, venue_order_id: str | None) -> dict[str, Any] | None:
        if venue_order_id is None and not self._identity.finds_by_client_id:
            return await self._find_in_lists(symbol, client_order_id)
        order = await self._read(self._ccxt.fetch_order, *self._lookup(symbol, client_order_id, venue_order_id), none_if_unknown=True)
        if order is not None and not (isinstance(order, dict) and order.get("id")):
            raise ExchangeUnavailable("the exchange's answer does not name the order")
        return order

    async def _find_in_lists(self, symbol: str, client_order_id: str) -> dict[str, Any] | None:
        for name, method in (("fetchOpenOrders", "fetch_open_orders"), ("fetchClosedOrders", "fetch_closed_orders")):
            if not self._ccxt.has.get(name):
                continue
            listed = await self._read(getattr(self._ccxt, method), symbol)
            with _reading("orders"):
                for order in listed:
                    if order.get("clientOrderId") == client_order_id:
                        return dict(order)
        return None

    def _lookup(self, symbol: str, client_order_id: str, venue_order_id: str | None) -> tuple[Any, ...]:
        if venue_order_id is not None:
            return venue_order_id, symbol, {}
        return "", symbol, {self._identity.lookup_parameter: client_order_id}

    async def _fills(self, symbol: str, venue_order_id: str) -> tuple[Fill, ...]:
        parameters = {"orderId": venue_order_id} if self._is_binance else {}
        trades = await self._read(self._ccxt.fetch_my_trades, symbol, None, _MOST_TRADES if self._is_binance else None, parameters)
        quote = symbol.partition("/")[2]
        with _reading("trades"):
            return reports.trade_fills([trade for trade in trades if str(trade.get("order")) == venue_order_id], quote=quote)

    async def _read(self, method: Callable[..., Awaitable[Any]], *arguments: Any, none_if_unknown: bool = False) -> Any:
        await self._ready()
        call = RunningCall(timeout_ms=_READ_TIMEOUT_MS)
        token = CURRENT_CALL.set(call)
        try:
            return await method(*arguments)
        except Exception as error:  # noqa: BLE001  # ccxt's classes cannot be named here; all of them are translated and raised
            if none_if_unknown and is_unknown_order(error, call=call):
                return None
            if is_clock_error(error, exchange=self.exchange, call=call):
                await self._resync_clock()
            raise read_error(error, exchange=self.exchange, call=call) from scrub(error)
        finally:
            CURRENT_CALL.reset(token)
