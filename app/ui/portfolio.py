"""Regions of the page of the portfolio, read from the database: the page and the live stream show the same ones. No exchange is asked."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from app.core.db import Database
from app.domain.enums import FlowNote
from app.trading import queries as trading
from app.trading.flow_queries import FlowLine, list_flows, list_waiting
from app.trading.queries import MarkedPosition
from app.trading.rates import Rate, Rates
from app.trading.worth import RealisedLine, read_curve, read_profits, read_realised
from app.ui.money import decimals_of, labels_of, rates_of
from app.ui.regions import Regions
from app.ui.views import EquityPoint
from app.ui.views.portfolio import (
    Allocation,
    AssetRow,
    CurveView,
    FeeRow,
    FlowMark,
    FlowRow,
    Flows,
    Headline,
    Holdings,
    Period,
    PortfolioLive,
    ProfitCell,
    RealisedRow,
    Results,
    Slice,
)

#: What can be chosen for the curve, and how far back it goes; None is the beginning.
PERIODS: Final[dict[str, timedelta | None]] = {
    "1d": timedelta(days=1),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "1y": timedelta(days=365),
    "all": None,
}
PERIOD: Final = "30d"
#: How a page says, among its topics, which accounts it shows; without any it shows all.
ACCOUNT_TOPIC: Final = "account:"
_FLOWS: Final = 50
#: Slices of the ring; what is left of the assets is one more.
_SLICES: Final = 7
_HUNDREDTH: Final = Decimal("0.001")
_NOTHING: Final = Decimal(0)
#: So many digits of a price that was divided out: more say nothing.
_SHORT: Final = Context(prec=8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Portfolio:
    """Builds the portfolio of one user, of some of the accounts or (`broker_ids` None) of all."""

    regions: Regions
    broker_ids: tuple[UUID, ...] | None = None

    @property
    def _database(self) -> Database:
        database: Database = self.regions.app.state.database
        return database

    @property
    def query(self) -> str:
        """What an address needs so that it is about the same accounts."""
        return urlencode([("broker", str(broker_id)) for broker_id in self.broker_ids or ()])

    async def live(self) -> PortfolioLive:
        """Everything but the curve."""
        app, user_id = self.regions.app, self.regions.user_id
        rates = await rates_of(app)
        rate = rates.into(self.regions.currency)
        labels = labels_of(rate)
        money = {name: labels[name] for name in ("currency", "decimals")}
        balances = await self._balances()
        marked = [
            position
            for position in await trading.list_positions(self._database, app.state.desk.quotes, user_id)
            if self._is_chosen(position.row["broker_id"])
        ]
        rows = _assets(balances, marked, rate)
        export = urlencode([("broker_id", str(broker_id)) for broker_id in self.broker_ids or ()])
        return PortfolioLive(
            headline=await self._headline(rate, balances, labels),
            allocation=Allocation(
                **money, slices=_slices(rows), unpriced=tuple(row.asset for row in rows if row.value is None and row.total)
            ),
            holdings=Holdings(**money, rows=rows, export=f"/api/portfolio/balances/export?{export}"),
            positions=await self.regions.positions(self.broker_ids),
            results=await self._results(rates, rate, money),
            flows=await self.flows(rate),
            has_accounts=bool(balances) or await self._has_accounts(),
        )

    def _is_chosen(self, broker_id: UUID) -> bool:
        return self.broker_ids is None or broker_id in self.broker_ids

    async def _balances(self) -> list[Any]:
        rows = await trading.list_balances(self._database, self.regions.user_id)
        return [row for row in rows if self._is_chosen(row["broker_id"])]

    async def _has_accounts(self) -> bool:
        async with self._database.connection() as connection:
            sql = "SELECT EXISTS (SELECT 1 FROM brokers WHERE user_id = $1 AND removed_at IS NULL)"
            return bool(await connection.fetchval(sql, self.regions.user_id))

    async def _headline(self, rate: Rate, balances: Sequence[Any], labels: dict[str, Any]) -> Headline:
        now = self.regions.app.state.clock.now()
        profits = await read_profits(self._database, self.regions.user_id, now=now, broker_ids=self.broker_ids)
        values = [row["value_usdt"] for row in balances if row["value_usdt"] is not None]
        return Headline(
            **labels,
            total=rate.exactly(sum(values, _NOTHING)) if balances else None,
            as_of=max((row["updated_at"] for row in balances), default=None),
            profits=tuple(
                ProfitCell(key=key, amount=rate.of(profit.amount), fraction=profit.fraction, flows=rate.exactly(profit.flows))
                for key, profit in profits.items()
            ),
            rate=None if rate.usdt == 1 else rate.usdt,
            is_par=rate.is_par,
        )

    async def _results(self, rates: Rates, rate: Rate, money: dict[str, Any]) -> Results:
        user_id = self.regions.user_id
        today = self.regions.app.state.clock.now()
        realised = await read_realised(self._database, user_id, today=today, broker_ids=self.broker_ids)
        fees = await self.regions.app.state.fees.read(self._database, user_id, now=today, broker_ids=self.broker_ids)
        return Results(
            **money,
            realised=tuple(_realised_row(line) for line in realised),
            fees=tuple(
                FeeRow(asset=asset, amount=amount, value=rate.of(rates.sum_usdt({asset: amount}))) for asset, amount in fees.items()
            ),
        )

    async def flows(self, rate: Rate | None = None) -> Flows:
        """What came and went without a trade, newest first; first what is not believed yet."""
        user_id = self.regions.user_id
        rate = rate or (await rates_of(self.regions.app)).into(self.regions.currency)
        waiting = await list_waiting(self._database, user_id, broker_ids=self.broker_ids)
        known, following = await list_flows(self._database, user_id, broker_ids=self.broker_ids, limit=_FLOWS)
        export = urlencode([("broker_id", str(broker_id)) for broker_id in self.broker_ids or ()])
        return Flows(
            currency=rate.currency.value,
            decimals=rate.currency.decimals,
            rows=tuple(_flow_row(line, rate) for line in (*waiting, *known)),
            notes=tuple(FlowNote),
            query=self.query,
            export=f"/api/portfolio/flows/export?{export}",
            has_more=following is not None,
        )

    async def curve(self, period: str) -> CurveView:
        """The equity curve of a period of `PERIODS`, with the flows marked in it."""
        span = PERIODS[period]
        now = self.regions.app.state.clock.now()
        since = None if span is None else now - span
        points = await read_curve(self._database, self.regions.user_id, since=since, now=now, broker_ids=self.broker_ids)
        rate = (await rates_of(self.regions.app)).into(self.regions.currency)
        return CurveView(
            currency=rate.currency.value,
            decimals=rate.currency.decimals,
            points=tuple(EquityPoint(time=point.at, value=rate.exactly(point.equity)) for point in points),
            marks=tuple(FlowMark(time=point.at, value=rate.exactly(point.flow)) for point in points if point.flow),
            periods=tuple(Period(key=key, href=self._address(key), is_chosen=key == period) for key in PERIODS),
            earned=points[-1].earned if points else None,
        )

    def _address(self, period: str) -> str:
        return f"/portfolio?{urlencode({'period': period})}{f'&{self.query}' if self.query else ''}"


def accounts_of(topics: Collection[str]) -> tuple[UUID, ...] | None:
    """Return the accounts that a page shows by its topics; None for all. What is no id is none."""
    found = []
    for topic in topics:
        if topic.startswith(ACCOUNT_TOPIC):
            with suppress(ValueError):
                found.append(UUID(topic.removeprefix(ACCOUNT_TOPIC)))
    return tuple(found) or None


def _assets(balances: Sequence[Any], positions: Sequence[MarkedPosition], rate: Rate) -> tuple[AssetRow, ...]:
    """Accounts together, the most valuable first; what has no price comes last."""
    held: dict[str, list[Any]] = defaultdict(list)
    for row in balances:
        held[row["asset"]].append(row)
    values = {asset: _sum([row["value_usdt"] for row in rows]) for asset, rows in held.items()}
    whole = sum((value for value in values.values() if value is not None and value > 0), _NOTHING)
    found = []
    for asset, rows in held.items():
        total = sum((row["free"] + row["locked"] for row in rows), _NOTHING)
        value = values[asset]
        average, unrealised, quote = _cost([position for position in positions if position.row["base"] == asset])
        found.append(
            AssetRow(
                asset=asset,
                free=sum((row["free"] for row in rows), _NOTHING),
                locked=sum((row["locked"] for row in rows), _NOTHING),
                total=total,
                price=_SHORT.plus(rate.exactly(value / total)) if value is not None and total else None,
                value=rate.of(value),
                share=value / whole if value is not None and whole else None,
                average=None if average is None else _SHORT.plus(average),
                unrealised=unrealised,
                quote=quote,
                quote_decimals=decimals_of(quote),
            )
        )
    return tuple(sorted(found, key=lambda row: (row.value is None, -(row.value or _NOTHING), row.asset)))


def _sum(values: Sequence[Decimal | None]) -> Decimal | None:
    known = [value for value in values if value is not None]
    return sum(known, _NOTHING) if known else None


def _cost(positions: Sequence[MarkedPosition]) -> tuple[Decimal | None, Decimal | None, str]:
    """The average cost and the unrealised profit of positions in one asset, where they are all in one quote currency."""
    quotes = {position.row["quote"] for position in positions}
    if len(quotes) != 1:
        return None, None, ""
    quantity = sum((position.row["quantity"] for position in positions), _NOTHING)
    spent = sum((position.row["quantity"] * (position.row["average_price"] or _NOTHING) for position in positions), _NOTHING)
    unrealised = _sum([position.unrealized_pnl for position in positions])
    return (spent / quantity if quantity else None), unrealised, quotes.pop()


def _slices(rows: Sequence[AssetRow]) -> tuple[Slice, ...]:
    parts = [(row.asset, row.value, row.share) for row in rows if row.value is not None and row.share is not None and row.share > 0]
    shown = parts[:_SLICES]
    rest = parts[_SLICES:]
    if len(rest) == 1:
        shown, rest = parts, []
    if rest:
        shown = [*shown, ("", sum((value for _, value, _ in rest), _NOTHING), sum((share for _, _, share in rest), _NOTHING))]
    found = []
    begin = _NOTHING
    for tone, (label, value, share) in enumerate(shown, 1):
        length = (share * 100).quantize(_HUNDREDTH, rounding=ROUND_HALF_EVEN)
        found.append(Slice(label=label, value=value, share=share, tone=tone, length=f"{length:f}", offset=f"{-begin:f}"))
        begin += length
    return tuple(found)


def _realised_row(line: RealisedLine) -> RealisedRow:
    decimals = decimals_of(line.quote)
    return RealisedRow(quote=line.quote, day=line.day, week=line.week, month=line.month, total=line.total, decimals=decimals)


def _flow_row(line: FlowLine, rate: Rate) -> FlowRow:
    return FlowRow(
        id="" if line.id is None else str(line.id),
        at=line.at,
        broker=line.broker,
        asset=line.asset,
        amount=line.amount,
        value=rate.of(line.value_usdt),
        note="" if line.note is None else line.note.value,
        was=line.first_amount if line.corrections else None,
    )
