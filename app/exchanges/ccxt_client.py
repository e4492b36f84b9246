"""One broker account at any exchange that ccxt knows, behind our port. It never repeats a write, and guesses no outcome."""

import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import structlog

from app.core.clock import Clock
from app.domain.candles import to_milliseconds
from app.domain.enums import Lane, OrderType
from app.domain.instruments import Instrument
from app.domain.orders import Fill, Reported
from app.errors import AppError, DenialReason, ExchangeError, ExchangeUnavailable, NotSent, OutcomeUnknown, RetryableError, Unsupported
from app.exchanges import binance_orders, reports
from app.exchanges.capabilities import capabilities_of
from app.exchanges.ccxt_market import UNREADABLE, CcxtMarketData, reading
from app.exchanges.errors import Outcome, classify, codes_of, is_clock_error, is_unknown_order, read_error, scrub, write_error
from app.exchanges.key_rights import KeyRights, question_of
from app.exchanges.markets import MarketsSource
from app.exchanges.order_params import arguments_of
from app.exchanges.order_places import venue_orders
from app.exchanges.port import (
    Balance,
    Guard,
    OcoReport,
    OcoRequest,
    OrderRequest,
    ReplaceOutcome,
    VenueOrder,
    VenueTrade,
)
from app.exchanges.user_stream_access import UserStreamAccess
from app.exchanges.venue_class import CURRENT_CALL, LONGEST_WAIT_S, WRITE_TIMEOUT_MS, RunningCall, order_call
from app.exchanges.venue_orders import Found, OrderRef
from app.exchanges.wire_check import MUST_CARRY, Carried

log = structlog.get_logger(__name__)

_READ_TIMEOUT_MS: Final = 10_000
#: The right of way of reads that are part of something more urgent.
_READS_AS: ContextVar[Lane] = ContextVar("reads_as", default=Lane.RECONCILE)
_BINANCE_FAMILY: Final = frozenset({"binance", "binanceus"})


class CcxtClient(CcxtMarketData):
    """An `ExchangeClient` over ccxt. Made by the registry, which shares the markets and the HTTP session among all of them."""

    def __init__(self, exchange: Any, source: MarketsSource, *, clock: Clock, user_stream: UserStreamAccess | None = None) -> None:
        self.exchange: str = source.exchange
        self._ccxt = exchange
        self._source = source
        self._clock = clock
        self._user_stream = user_stream
        self._generation = 0
        self.capabilities = capabilities_of(self.exchange)
        self._orders = venue_orders(self.exchange, exchange, self._read)
        self._is_binance = self.exchange in _BINANCE_FAMILY

    def __repr__(self) -> str:
        return f"CcxtClient({self.exchange})"

    def user_stream(self) -> UserStreamAccess | None:
        """Return the way to the account's events as they happen; None where asking is all there is."""
        return self._user_stream

    async def instruments(self) -> dict[str, Instrument]:
        """Return the venue's spot instruments by unified symbol."""
        await self._ready()
        return {listing.instrument.symbol: listing.instrument for listing in self._source.listings()}

    async def place_order(self, request: OrderRequest, *, guard: Guard) -> Reported:
        """Send exactly one request; never repeated here. Raises as the port says."""
        await self._ready_to_send()
        arguments = arguments_of(self.exchange, request, clock_difference_ms=self._source.time_difference_ms)
        self._check_symbol_takes(request)
        call = order_call(request, guard, now=self._clock.now())
        order = await self._write(self._ccxt.create_order, *arguments.positional, call=call, carried=arguments.carried)
        if classify(order, None, exchange=self.exchange, call=call) is not Outcome.ACKNOWLEDGED:
            raise write_error(None, exchange=self.exchange, call=call)
        try:
            fills = reports.binance_fills(order["info"]) if self._is_binance else ()
            return reports.order_report(self.exchange, order, fills=fills, is_acknowledgement=True, waits=request.type.waits)
        except UNREADABLE as error:
            raise OutcomeUnknown("the exchange took the order, but its answer cannot be read; it is being looked up") from error

    async def place_oco(self, request: OcoRequest, *, guard: Guard) -> OcoReport:
        """Send both legs in one request; never repeated here. Raises as the port says."""
        if not self.capabilities.has_oco:
            raise Unsupported(f"{self.exchange} has no order pairs for {request.target.symbol} that this version sends")
        await self._ready_to_send()
        for leg in (request.target, request.stop):
            self._check_symbol_takes(leg, allowed_by="ocoAllowed")
        difference_ms = self._source.time_difference_ms
        target, stop = (arguments_of(self.exchange, leg, clock_difference_ms=difference_ms) for leg in (request.target, request.stop))
        parameters = binance_orders.oco_parameters(
            request,
            built_target=self._ccxt.create_order_request(*target.positional),
            built_stop=self._ccxt.create_order_request(*stop.positional),
        )
        call = order_call(request.stop, guard, now=self._clock.now())
        send = self._ccxt.private_post_orderlist_oco
        reply = await self._write(send, parameters, call=call, carried=(*target.carried, *stop.carried))
        try:
            market = self._ccxt.market(request.target.symbol)
            return binance_orders.oco_report(self.exchange, reply, request, market=market, parse=self._ccxt.parse_order)
        except UNREADABLE as error:
            raise OutcomeUnknown("the exchange took the order pair, but its answer cannot be read; it is being looked up") from error

    async def replace_order(
        self, request: OrderRequest, *, old_client_order_id: str, old_venue_order_id: str | None, guard: Guard
    ) -> ReplaceOutcome:
        """Cancel the old order and place the new one in one request; never repeated here. Raises as the port says."""
        if not self.capabilities.has_replace:
            raise Unsupported(f"{self.exchange} cannot replace an order of {request.symbol} in one step")
        await self._ready_to_send()
        self._check_symbol_takes(request, allowed_by="cancelReplaceAllowed")
        arguments = arguments_of(self.exchange, request, clock_difference_ms=self._source.time_difference_ms)
        parameters = binance_orders.replace_parameters(
            self._ccxt.create_order_request(*arguments.positional),
            old_client_order_id=old_client_order_id,
            old_venue_order_id=old_venue_order_id,
        )
        call = order_call(request, guard, now=self._clock.now())
        market, parse = self._ccxt.market(request.symbol), self._ccxt.parse_order
        try:
            reply = await self._write(self._ccxt.private_post_order_cancelreplace, parameters, call=call, carried=arguments.carried)
            return binance_orders.replaced(self.exchange, reply, market=market, parse=parse)
        except OutcomeUnknown:
            half = binance_orders.half_replaced(
                self.exchange, call, is_definite=codes_of(self.exchange).proves_refusal, market=market, parse=parse
            )
            if half is None:
                raise
            return half
        except UNREADABLE as error:
            raise OutcomeUnknown("the exchange's answer to the replacement cannot be read; both orders are being looked up") from error

    async def cancel_order(
        self, symbol: str, *, client_order_id: str, venue_order_id: str | None, type: OrderType = OrderType.LIMIT
    ) -> Reported | None:
        """Ask the venue to cancel; None when it does not know the order (ask again before believing it)."""
        await self._ready()
        ref = OrderRef(symbol=symbol, client_order_id=client_order_id, venue_order_id=venue_order_id, waits=type.waits)
        reading = _READS_AS.set(Lane.CANCEL)
        try:
            async for attempt in self._orders.cancel_calls(ref):
                call = RunningCall(timeout_ms=WRITE_TIMEOUT_MS, is_write=True, lane=Lane.CANCEL)
                order = await self._write(attempt.method, *attempt.arguments, call=call, none_if_unknown=True)
                if order is not None:
                    return await self._canceled(ref, order, call)
        finally:
            _READS_AS.reset(reading)
        return None

    async def _canceled(self, ref: OrderRef, order: Any, call: RunningCall) -> Reported:
        """What the order looks like after a cancellation that was taken: most venues only say that they heard it."""
        if self._is_binance:
            if classify(order, None, exchange=self.exchange, call=call) is not Outcome.ACKNOWLEDGED:
                raise OutcomeUnknown("the exchange's answer does not say whether the order was canceled; it is being looked up")
            try:
                report = reports.order_report(self.exchange, order, is_acknowledgement=True)
            except UNREADABLE as error:
                raise OutcomeUnknown("the exchange's answer to the cancellation cannot be read; it is being looked up") from error
            if not report.filled_quantity:
                return report
            return await self._completed(ref, report)
        try:
            found = await self._found(ref)
        except ExchangeError as error:
            raise OutcomeUnknown("the exchange took the cancellation; what became of the order is being looked up") from error
        if found is None:
            raise OutcomeUnknown("the exchange took the cancellation, but does not show the order; it is being looked up")
        return found

    async def _completed(self, ref: OrderRef, report: Reported) -> Reported:
        """A cancel's answer has no fills; when they cannot be read now, the bare report still stands."""
        try:
            return await self._found(ref) or report
        except ExchangeError:
            return report

    async def fetch_order(
        self, symbol: str, *, client_order_id: str, venue_order_id: str | None, type: OrderType = OrderType.LIMIT
    ) -> Reported | None:
        """Return what the venue knows of the order, with its fills, or None when it does not know it."""
        await self._ready()
        ref = OrderRef(symbol=symbol, client_order_id=client_order_id, venue_order_id=venue_order_id, waits=type.waits)
        return await self._found(ref)

    async def _found(self, ref: OrderRef) -> Reported | None:
        found = await self._orders.find(ref)
        if found is None:
            return None
        with reading("order"):
            report = reports.order_report(self.exchange, found.order)
        if report.filled_quantity:
            report = replace(report, fills=await self._fills(ref.symbol, found))
        # What a waiting order became has an id of its own; ours stays under the one it was given first.
        return report if found.waiting_id is None else replace(report, venue_order_id=found.waiting_id)

    async def fetch_open_orders(self, symbol: str | None = None) -> list[VenueOrder]:
        """Return the account's open orders, ours or not, without their fills."""
        if symbol is None and not self.capabilities.lists_all_open_orders:
            raise Unsupported(f"{self.exchange} lists open orders of one symbol at a time")
        await self._ready()
        return self._listed(await self._orders.open(symbol))

    async def fetch_recent_orders(self, symbol: str, *, since: datetime) -> list[VenueOrder]:
        """Return the orders of `symbol` created since then, finished ones too, without their fills."""
        await self._ready()
        return self._listed(await self._orders.recent(symbol, to_milliseconds(since)))

    async def fetch_trades(self, symbol: str, *, after_trade_id: str | None = None, since: datetime | None = None) -> list[VenueTrade]:
        """Return the account's executions in `symbol`, oldest first."""
        await self._ready()
        parameters: dict[str, Any] = {}
        if after_trade_id is not None and self.capabilities.trades_by_id:
            parameters["fromId"] = str(int(after_trade_id) + 1)
        since_ms = None if since is None or parameters else to_milliseconds(since)
        trades = await self._orders.trades(symbol, since_ms=since_ms, parameters=parameters)
        with reading("trades"):
            return reports.account_trades(trades, quote=symbol.partition("/")[2])

    def _listed(self, orders: Any) -> list[VenueOrder]:
        """One order of a kind that we cannot read, the trader's own perhaps, must not hide all others; a list of nothing else is none."""
        found: list[VenueOrder] = []
        unreadable = 0
        with reading("orders"):
            for order in orders:
                try:
                    found.append(reports.venue_order(self.exchange, order))
                except (*UNREADABLE, OutcomeUnknown) as error:
                    unreadable += 1
                    log.warning("listed_order_unreadable", exchange=self.exchange, reason=f"{type(error).__name__}: {error}"[:200])
        if unreadable and not found:
            raise ExchangeUnavailable("the exchange's answer cannot be read (orders)")
        return found

    async def fetch_balances(self) -> dict[str, Balance]:
        """Return the account's assets that are not zero, by asset."""
        await self._ready()
        with reading("balances"):
            reply = await self._orders.balances()
        with reading("balances"):
            return reports.balances(reply)

    async def fetch_key_rights(self) -> KeyRights:
        """Return what the venue says that the account's key may do.

        Raises:
            Unsupported: the venue does not tell, or not a key like this one.
        """
        if (question := question_of(self.exchange)) is None:
            raise Unsupported(f"{self.exchange} does not say what a key may do")
        reply = await self._read(getattr(self._ccxt, question.method))
        with reading("rights"):
            return question.read(reply)

    async def close(self) -> None:
        """Let go of the shared session; the client is dead afterwards."""
        await self._ccxt.close()

    async def _ready(self) -> None:
        await self._source.ensure()
        if self._generation != self._source.generation:
            self._ccxt.set_markets_from_exchange(self._source.shared)
            self._generation = self._source.generation
        if self._ccxt.account_key is not None and not self._source.gate.clock.is_known:
            await self._source.gate.sync_clock()
        if "timeDifference" in self._ccxt.options:
            self._ccxt.options["timeDifference"] = self._source.time_difference_ms

    async def _ready_to_send(self) -> None:
        """What every order needs; an order whose symbols or clock took too long is too old to send.

        Raises:
            NotSent: the symbols cannot be read, or not in time, or the clock is in doubt.
        """
        begun = time.monotonic()
        try:
            await self._ready()
        except RetryableError as error:
            raise NotSent("the exchange's symbols could not be read; the order was not sent") from error
        if not self._source.gate.is_clock_sure:
            await self._source.gate.require_clock()
            await self._ready()
        if time.monotonic() - begun > LONGEST_WAIT_S:
            raise NotSent("the exchange's symbols took too long to read; the order was not sent", code=DenialReason.DEADLINE_PASSED.value)

    def _check_symbol_takes(self, request: OrderRequest, *, allowed_by: str | None = None) -> None:
        if self._is_binance:
            binance_orders.check_symbol_takes(self.exchange, self._ccxt.markets, request, allowed_by=allowed_by)

    async def _write(
        self,
        method: Callable[..., Awaitable[Any]],
        *arguments: Any,
        call: RunningCall,
        carried: tuple[Carried, ...] = (),
        none_if_unknown: bool = False,
    ) -> Any:
        """Make one request that changes something, once; its errors become ours."""
        token, carrying = CURRENT_CALL.set(call), MUST_CARRY.set(carried)
        try:
            answer = await method(*arguments)
        except Exception as error:  # whatever it is, the request may have left: it becomes ours and is raised
            if isinstance(error, AppError) and (isinstance(error, NotSent) or not call.attempted):
                raise  # the guard's own refusal
            if none_if_unknown and is_unknown_order(error, exchange=self.exchange, call=call):
                return None
            raise await self._refused(error, call) from scrub(error)
        finally:
            MUST_CARRY.reset(carrying)
            CURRENT_CALL.reset(token)
        if call.venue_code is None:
            return answer
        # A refusal that ccxt did not take for one.
        if none_if_unknown and is_unknown_order(None, exchange=self.exchange, call=call):
            return None
        raise await self._refused(None, call)

    async def _refused(self, error: Exception | None, call: RunningCall) -> ExchangeError:
        if is_clock_error(error, exchange=self.exchange, call=call):
            await self._source.gate.sync_clock()
        refusal = write_error(error, exchange=self.exchange, call=call)
        log.info("write_refused", exchange=self.exchange, code=refusal.code, venue_code=refusal.venue_code, status=call.status)
        return refusal

    async def _fills(self, symbol: str, found: Found) -> tuple[Fill, ...]:
        trades = await self._orders.trades_of(symbol, found.order)
        with reading("trades"):
            return reports.trade_fills(trades, quote=symbol.partition("/")[2])

    async def _read(
        self, method: Callable[..., Awaitable[Any]], *arguments: Any, none_if_unknown: bool = False, lane: Lane | None = None
    ) -> Any:
        await self._ready()
        call = RunningCall(timeout_ms=_READ_TIMEOUT_MS, lane=lane or _READS_AS.get())
        token = CURRENT_CALL.set(call)
        try:
            return await method(*arguments)
        except AppError:
            raise
        except Exception as error:  # noqa: BLE001  # ccxt's classes cannot be named here; all of them are translated and raised
            if none_if_unknown and is_unknown_order(error, exchange=self.exchange, call=call):
                return None
            if is_clock_error(error, exchange=self.exchange, call=call):
                await self._source.gate.sync_clock()
            raise read_error(error, exchange=self.exchange, call=call) from scrub(error)
        finally:
            CURRENT_CALL.reset(token)
