"""Shapes of the history's API."""

from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Depends, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from app.domain.enums import OrderState, OrderType, Role, Side, Source
from app.domain.instruments import plain
from app.trading.history import TradeSums
from app.trading.history_filter import HistoryFilter
from app.trading.notes import LONGEST, MOST_TAGS
from app.trading.round_trips import trip_of
from app.trading.schemas import FillOut, MoneyOut

Search = Annotated[str, Query(max_length=100)]
Text = Annotated[str, Query(max_length=60)]
Cursor = Annotated[str | None, Query(max_length=400)]
From = Annotated[AwareDatetime | None, Query(alias="from", description="Inclusive.")]
To = Annotated[AwareDatetime | None, Query(description="Exclusive.")]


def _clean(text: str) -> str:
    return text.replace("\x00", "").strip()


def _orders(
    since: From = None,
    to: To = None,
    broker_id: UUID | None = None,
    symbol: Text | None = None,
    side: Side | None = None,
    type: OrderType | None = None,
    state: OrderState | None = None,
    source: Source | None = None,
    text: Search = "",
    tag: Text = "",
) -> HistoryFilter:
    return HistoryFilter(
        since=since,
        until=to,
        broker_id=broker_id,
        symbol=_clean(symbol or ""),
        side=side or "",
        type=type or "",
        state=state or "",
        source=source or "",
        text=_clean(text),
        tag=_clean(tag).lower(),
    )


def _fills(
    since: From = None,
    to: To = None,
    broker_id: UUID | None = None,
    symbol: Text | None = None,
    side: Side | None = None,
    type: OrderType | None = None,
    source: Source | None = None,
) -> HistoryFilter:
    return HistoryFilter(
        since=since, until=to, broker_id=broker_id, symbol=_clean(symbol or ""), side=side or "", type=type or "", source=source or ""
    )


def _trades(
    since: From = None,
    to: To = None,
    broker_id: UUID | None = None,
    bot_id: UUID | None = None,
    symbol: Text | None = None,
    side: Literal["long", "short"] | None = None,
    source: Source | None = None,
    text: Search = "",
    tag: Text = "",
) -> HistoryFilter:
    return HistoryFilter(
        since=since,
        until=to,
        broker_id=broker_id,
        bot_id=bot_id,
        symbol=_clean(symbol or ""),
        side=side or "",
        source=source or "",
        text=_clean(text),
        tag=_clean(tag).lower(),
    )


OrdersAsked = Annotated[HistoryFilter, Depends(_orders)]
FillsAsked = Annotated[HistoryFilter, Depends(_fills)]
TradesAsked = Annotated[HistoryFilter, Depends(_trades)]


class TradeOut(BaseModel):
    """A round trip, from flat to flat; `quantity` is what was opened, prices are its means, `pnl` is in `quote` after fees.

    `fees` is in `quote`, `fees_by_asset` as they were paid; those that nobody could value are in `unvalued_fees` and no part of `fees` and
    `pnl`. `pnl_percent` is of what the entry cost, 0–100. `dust` is what could not be sold. `delivery_id` is of the alert that
    opened it, `bot_id` of the bot that held it (null: whoever trades by hand), `exit_role` what the order was for that closed it.
    """

    id: UUID
    broker_id: UUID
    symbol: str
    side: Literal["long", "short"]
    quantity: MoneyOut
    entry_price: MoneyOut | None
    exit_price: MoneyOut | None
    opened_at: datetime
    closed_at: datetime
    duration_s: int
    pnl: MoneyOut
    pnl_percent: MoneyOut | None
    quote: str
    fees: MoneyOut
    fees_by_asset: dict[str, str]
    unvalued_fees: dict[str, str]
    dust: MoneyOut
    source: Source
    delivery_id: UUID | None
    bot_id: UUID | None
    exit_role: Role | None
    order_ids: list[UUID]
    fill_count: int
    note: str
    tags: list[str]

    @classmethod
    def of(cls, row: Any) -> "TradeOut":
        """Return a round trip of a row of `history.page_of_trades`."""
        return cls(**asdict(trip_of(row)))


class QuoteSumsOut(BaseModel):
    """Round trips of one quote currency."""

    quote: str
    trades: int
    won: int
    pnl: MoneyOut
    fees: MoneyOut


class TradeSumsOut(BaseModel):
    """All round trips that the filter lets through, not only those of this page; `win_rate` is a fraction, null when there are none."""

    trades: int
    win_rate: MoneyOut | None
    by_quote: list[QuoteSumsOut]
    unvalued_fees: dict[str, str]

    @classmethod
    def of(cls, sums: TradeSums) -> "TradeSumsOut":
        """Return what the API tells of the sums."""
        return cls(
            trades=sums.trades,
            win_rate=None if sums.win_rate is None else sums.win_rate.quantize(Decimal("1e-8")),
            by_quote=[QuoteSumsOut(**asdict(line)) for line in sums.quotes],
            unvalued_fees={asset: plain(fee) for asset, fee in sums.unvalued},
        )


class TradePage(BaseModel):
    """Round trips, the last one that ended first; `next` is the cursor of the following page."""

    items: list[TradeOut]
    next: str | None
    sums: TradeSumsOut | None = None


class TradeDetail(TradeOut):
    """A round trip with its fills, oldest first."""

    fills: list[FillOut]


class NoteIn(BaseModel):
    """A note. One without text and tags is removed."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field("", max_length=LONGEST)
    tags: list[Annotated[str, Field(max_length=60)]] = Field(default_factory=list, max_length=MOST_TAGS)


class NoteOut(BaseModel):
    """A note as it is kept: tags are lower-case words, sorted."""

    text: str
    tags: list[str]
