"""JSON routes of the heartbeat: what closed, in pages and as a stream, and holes. Who may call them is decided where they are mounted."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import StreamingResponse

from app.accounts.dependencies import CurrentUser
from app.accounts.principal import Principal
from app.accounts.tokens import is_token_over
from app.core.events import Subscription
from app.core.http import problems
from app.core.streams import check_room, streaming
from app.domain.candles import Timeframe, from_milliseconds, to_milliseconds
from app.errors import InvalidInput
from app.marketdata.feed_news import FeedNews
from app.marketdata.heartbeat_queries import Gap, gaps_page, signals_page
from app.marketdata.heartbeat_schemas import BackfillIn, BackfillOut, GapOut, GapsOut, SignalOut, SignalsOut
from app.marketdata.lookout import Lookout
from app.marketdata.models import GapOutcome
from app.marketdata.symbols_router import InstrumentsDep

router = APIRouter(prefix="/api/heartbeat", tags=["market data"])

_MOST: Final = 500
_CHECK_S: Final = 5.0
_WAITING: Final = 2_000
#: Before any cursor: 253402300799999 ms is the end of the year 9999.
_LAST_MS: Final = 253_402_300_799_999


def _lookout(request: Request) -> Lookout:
    lookout: Lookout = request.app.state.lookout
    return lookout


LookoutDep = Annotated[Lookout, Depends(_lookout)]
SymbolText = Annotated[str | None, Query(min_length=2, max_length=40, description="BTC/USDT, BTCUSDT or BINANCE:BTCUSDT; all without one")]


@router.get("/signals", summary="Closed candles as they came", responses=problems(404, 422, 503))
async def get_signals(
    lookout: LookoutDep,
    instruments: InstrumentsDep,
    *,
    timeframe: Timeframe = Timeframe.M1,
    symbol: SymbolText = None,
    limit: Annotated[int, Query(ge=1, le=_MOST)] = 60,
    cursor: Annotated[str | None, Query(max_length=80, description="`next` of the page before")] = None,
) -> SignalsOut:
    """Return stored candles of the symbols that are watched (the first 200 of them), or of one symbol, newest first."""
    after = _after(cursor)
    symbols = [(await instruments.require(lookout.exchange, symbol)).symbol] if symbol else (await lookout.news.row()).symbols
    rows = await signals_page(lookout.database, lookout.exchange, symbols, timeframe, after=after, limit=limit + 1)
    items = [SignalOut(**row, timeframe=timeframe) for row in rows[:limit]]
    following = f"{to_milliseconds(items[-1].open_time)}.{items[-1].symbol}" if len(rows) > limit else None
    return SignalsOut(items=items, next=following)


def _after(cursor: str | None) -> tuple[datetime, str]:
    if cursor is None:
        return from_milliseconds(_LAST_MS), ""
    moment, _, symbol = cursor.partition(".")
    if not moment.isdecimal() or not moment.isascii() or not 0 < int(moment) <= _LAST_MS or not symbol.isprintable():
        raise InvalidInput("cursor must be `next` of the page before", field="cursor")
    return from_milliseconds(int(moment)), symbol


@router.get(
    "/stream",
    summary="The feed as it comes (server-sent events)",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}, **problems(404, 422, 429, 503)},
)
async def get_stream(
    request: Request,
    principal: CurrentUser,
    lookout: LookoutDep,
    instruments: InstrumentsDep,
    *,
    symbol: SymbolText = None,
    raw: Annotated[bool, Query(description="Also `feed-raw`: prices and open candles, up to 15 lines four times a second")] = False,
) -> StreamingResponse:
    """Return a stream that begins with `feed-stored`, the newest 60 stored candles of each timeframe: whatever was missed is in it.

    Then `feed`: by timeframe, closed candles as [open time in ms, symbol, close, is late]; and once a second `feed-status`. A symbol that
    is asked for is watched as long as somebody asks.
    """
    check_room(request, principal.user_id)
    chosen = (await instruments.require(lookout.exchange, symbol)).symbol if symbol else None
    return streaming(request, principal.user_id, FeedStream(request, principal, symbol=chosen, with_raw=raw))


class FeedStream:
    """What one program is sent."""

    def __init__(self, request: Request, principal: Principal, *, symbol: str | None, with_raw: bool) -> None:
        self._state = request.app.state
        self._principal = principal
        self._symbol = symbol
        self._wanted = frozenset({"feed", "feed-status", "feed-ledgers"}) | ({"feed-raw"} if with_raw else set())

    async def messages(self) -> AsyncGenerator[bytes, None]:
        """Yield messages until the program leaves, its login or token ends, or the server stops."""
        lookout: Lookout = self._state.lookout
        subscription: Subscription[object] = Subscription(_WAITING)
        async with lookout.looking(self._symbol, subscription):
            yield b"retry: 1000\n\n"
            yield (await lookout.news.beginning(self._symbol)).message
            loop = asyncio.get_running_loop()
            check_at = 0.0
            while not self._state.stopping.is_set():
                if loop.time() >= check_at:
                    if await self._is_over():
                        return
                    check_at = loop.time() + _CHECK_S
                try:
                    news = await asyncio.wait_for(subscription.get(), _CHECK_S)
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                if isinstance(news, FeedNews) and news.name in self._wanted:
                    yield news.message

    async def _is_over(self) -> bool:
        who = self._principal
        if who.scopes is not None:
            return await is_token_over(self._state.platform_database, who.session_id, now=self._state.clock.now())
        return bool(await self._state.accounts.is_over(who.session_id, is_admin=who.is_admin))


@router.get("/gaps", summary="Holes in the candles", responses=problems(404, 422, 503))
async def get_gaps(
    lookout: LookoutDep,
    instruments: InstrumentsDep,
    *,
    outcome: GapOutcome | None = None,
    symbol: SymbolText = None,
    limit: Annotated[int, Query(ge=1, le=_MOST)] = 50,
    cursor: Annotated[UUID | None, Query(description="`next` of the page before")] = None,
) -> GapsOut:
    """Return the holes that were found, and what became of each."""
    chosen = (await instruments.require(lookout.exchange, symbol)).symbol if symbol else None
    found = await gaps_page(lookout.database, lookout.exchange, before=cursor, outcome=outcome, symbol=chosen, limit=limit + 1)
    items = [_gap(gap, lookout) for gap in found[:limit]]
    return GapsOut(items=items, next=items[-1].id if len(found) > limit else None)


def _gap(gap: Gap, lookout: Lookout) -> GapOut:
    told = GapOut.model_validate(gap)
    told.is_asked = gap.id in lookout.gaps.asked
    return told


@router.post("/backfill", status_code=202, summary="Look at holes again", responses=problems(404, 422, 429))
async def begin_backfill(given: BackfillIn, lookout: LookoutDep) -> BackfillOut:
    """Ask the exchange again for what is missing. One round at a time, another one ten seconds after it, whoever asks."""
    return BackfillOut(gaps=await lookout.gaps.begin(given.gap))
