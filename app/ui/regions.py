"""Regions of pages for one user, read from the database: the page and the live stream show the same ones, built here once."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from fastapi import FastAPI

from app.bots.overview import bot_names, count_bots
from app.brokers.models import Broker
from app.brokers.service import get_broker, list_brokers
from app.brokers.testing import ConnectionTest
from app.core.db import Database
from app.domain.currencies import Currency
from app.domain.enums import Side, Source
from app.domain.instruments import Instrument
from app.errors import ExchangeError, NotFound
from app.notifications import bell
from app.trading import external, oversight_queries, states
from app.trading import queries as trading
from app.trading.desk import Desk
from app.ui.audit import audit_view
from app.ui.brokers import bar_status, broker_row
from app.ui.checklist import checklist_of
from app.ui.guarding import facts, guard_row
from app.ui.heartbeat import bar_heartbeat
from app.ui.money import balances_of, equity_of, kpis_of
from app.ui.order_rows import external_row, order_row
from app.ui.trading_state import missing_key, trading_view
from app.ui.views import (
    AuditView,
    Balances,
    BellView,
    BrokerRow,
    ChecklistStep,
    DeliveryRow,
    Environment,
    EquityView,
    ExternalOrderRow,
    FillMark,
    HookPosition,
    HookRow,
    Kpis,
    OrderRow,
    PositionFacts,
    PositionRow,
    Region,
    StatusItems,
    TradingView,
)
from app.ui.webhooks import delivery_row, hook_list, hook_position
from app.webhooks import queries as webhooks
from app.webhooks.overview import openers

_ROWS: Final = 12
_OPEN_ORDERS: Final = 50
_EXTERNAL_ORDERS: Final = 50
_FILLS: Final = 200


@dataclass(frozen=True, slots=True)
class Regions:
    """Builds the regions of one user's pages."""

    app: FastAPI
    user_id: UUID
    is_admin: bool = False
    currency: Currency = Currency.USDT

    @property
    def _database(self) -> Database:
        database: Database = self.app.state.database
        return database

    @property
    def _desk(self) -> Desk:
        desk: Desk = self.app.state.desk
        return desk

    async def rule_of(self, exchange: str, symbol: str) -> Instrument | None:
        """An instrument gives the decimals of prices; without it numbers are shown as they are."""
        try:
            return (await self._desk.instruments.all(exchange)).get(symbol)
        except ExchangeError:
            return None

    async def bell(self) -> BellView:
        """How many notices are unread."""
        async with self._database.connection() as connection:
            return BellView(unread=await bell.unread(connection, self.user_id))

    async def status(self) -> StatusItems:
        """The live middle of the status bar."""
        kpis = await self.kpis()
        async with self._database.transaction() as session:
            accounts = await list_brokers(session, self.user_id)
            bots = await count_bots(session, self.user_id)
        return StatusItems(
            heartbeat=await bar_heartbeat(self.app),
            exchanges=tuple(sorted(self._exchanges(accounts) & self.app.state.instruments.loaded)),
            brokers=tuple(bar_status(account) for account in accounts),
            bots=bots.bots,
            bots_running=bots.running,
            bots_faulted=bots.faulted,
            bots_waiting=bots.waiting,
            day_pnl=kpis.day_change,
            currency=kpis.currency,
            decimals=kpis.decimals,
        )

    def _exchanges(self, accounts: list[Broker]) -> set[str]:
        # Only the person's own: what others trade on is nobody's business.
        book = self.app.state.instruments
        return {self.app.state.settings.heartbeat_exchange, *(book.source(account.exchange) for account in accounts)}

    async def trading(self) -> TradingView:
        """What restrains trading, and how far the kill switch is."""
        missing = missing_key(self.app.state.keyring, is_admin=self.is_admin)
        names = await self.broker_names() | await self.bot_names()
        view = await trading_view(self._desk, self.user_id, names, is_admin=self.is_admin, missing_key=missing)
        return replace(view, is_unlocked=self.app.state.jail.is_forced)

    async def kpis(self) -> Kpis:
        """The dashboard's headline figures."""
        return await kpis_of(self.app, self.user_id, self.currency)

    async def positions(self, broker_ids: Collection[UUID] | None = None) -> Region[PositionRow]:
        """Open positions at the market's price, of these accounts or of all."""
        found = await trading.list_positions(self._database, self._desk.quotes, self.user_id)
        if broker_ids is not None:
            found = [position for position in found if position.row["broker_id"] in broker_ids]
        names = await self.broker_names()
        guards = await oversight_queries.list_guards(self._database, self.user_id)
        rows = []
        for position in found:
            row = position.row
            rules = await self.rule_of(row["exchange"], row["symbol"])
            guard = guards.get(row["id"])
            average = row["average_price"] or Decimal(0)
            cost = abs(row["quantity"]) * average
            pnl = position.unrealized_pnl
            rows.append(
                PositionRow(
                    id=str(row["id"]),
                    symbol=row["symbol"],
                    side="long" if row["quantity"] >= 0 else "short",
                    quantity=abs(row["quantity"]),
                    average_price=average,
                    quote=row["quote"],
                    source=Source(row["source"]),
                    opened_at=row["opened_at"],
                    broker=names.get(row["broker_id"], ""),
                    broker_id=str(row["broker_id"]),
                    mark_price=position.mark_price,
                    guard=None if guard is None else guard_row(guard),
                    unrealised=pnl,
                    unrealised_pct=pnl / cost if pnl is not None and cost else None,
                    tick=rules.tick_size if rules else None,
                    step=rules.step_size if rules else None,
                )
            )
        return Region(rows=tuple(rows))

    async def broker_names(self) -> dict[UUID, str]:
        """What the user calls each account, removed ones too."""
        async with self._database.connection() as connection:
            return {
                row["id"]: row["name"] for row in await connection.fetch("SELECT id, name FROM brokers WHERE user_id = $1", self.user_id)
            }

    async def bot_names(self) -> dict[UUID, str]:
        """What the user calls each bot."""
        async with self._database.transaction() as session:
            return await bot_names(session, self.user_id)

    async def orders(self) -> Region[OrderRow]:
        """Our open orders, then our last ones, refused ones too."""
        open_orders = await oversight_queries.list_open_orders(self._database, self.user_id, limit=_OPEN_ORDERS)
        last = await trading.list_orders(self._database, self.user_id, limit=_ROWS)
        shown = {row["id"] for row in open_orders}
        rows = [*open_orders, *(row for row in last if row["id"] not in shown)]
        names, exchanges = await self.broker_names(), await self.broker_exchanges()
        return Region(
            rows=tuple(
                [
                    order_row(
                        row, broker=names.get(row["broker_id"], ""), rules=await self.rule_of(exchanges[row["broker_id"]], row["symbol"])
                    )
                    for row in rows
                ]
            )
        )

    async def external(self) -> Region[ExternalOrderRow]:
        """Open orders in the accounts that were placed elsewhere, as the exchanges last told."""
        rows = (await external.list_open(self._database, self.user_id))[:_EXTERNAL_ORDERS]
        names, exchanges = await self.broker_names(), await self.broker_exchanges()
        return Region(
            rows=tuple(
                [
                    external_row(
                        row, broker=names.get(row["broker_id"], ""), rules=await self.rule_of(exchanges[row["broker_id"]], row["symbol"])
                    )
                    for row in rows
                ]
            )
        )

    async def audit(self) -> AuditView:
        """What the latest audit found."""
        return await audit_view(self._desk, self.user_id, await self.broker_names())

    async def position(self, position_id: UUID) -> tuple[PositionFacts, Any]:
        """One open position for a dialog, and what guards it: a row of `list_guards`, or None.

        Raises:
            NotFound: no such open position of this user.
        """
        found = await trading.list_positions(self._database, self._desk.quotes, self.user_id)
        position = next((item for item in found if item.row["id"] == position_id), None)
        if position is None:
            raise NotFound("there is no such open position")
        row = position.row
        async with self._database.transaction() as session:
            account = await get_broker(session, self.user_id, row["broker_id"])
        guards = await oversight_queries.list_guards(self._database, self.user_id)
        rules = await self.rule_of(row["exchange"], row["symbol"])
        about = facts(position, broker=account.name, env=self.environment(account), rules=rules)
        return about, guards.get(row["id"])

    async def broker_exchanges(self) -> dict[UUID, str]:
        """The exchange of each account, removed ones too."""
        async with self._database.connection() as connection:
            rows = await connection.fetch("SELECT id, exchange FROM brokers WHERE user_id = $1", self.user_id)
        return {row["id"]: row["exchange"] for row in rows}

    async def deliveries(self, *, limit: int = _ROWS, with_strangers: bool = False) -> Region[DeliveryRow]:
        """The last attempts to send an alert, whatever became of them."""
        # What nobody's address received is no tenant's.
        database = self.app.state.platform_database if with_strangers else self._database
        rows, _ = await webhooks.list_deliveries(database, self.user_id, limit=limit, with_strangers=with_strangers)
        return Region(rows=tuple(delivery_row(row) for row in rows))

    async def balances(self) -> Balances:
        """What the accounts hold, as the exchanges last told."""
        return await balances_of(self.app, self.user_id, self.currency)

    async def equity(self) -> EquityView:
        """The equity curve of the last day, a point a minute at most."""
        return await equity_of(self.app, self.user_id, self.currency)

    async def fills(self, symbol: str) -> tuple[FillMark, ...]:
        """The last fills of a symbol, oldest first, for the chart."""
        rows = await trading.list_fills(self._database, self.user_id, limit=_FILLS, symbol=symbol)
        return tuple(
            FillMark(symbol=symbol, side=Side(row["side"]), price=row["price"], quantity=row["quantity"], time=row["executed_at"])
            for row in reversed(rows)
        )

    async def brokers(self) -> Region[BrokerRow]:
        """The user's broker accounts."""
        async with self._database.transaction() as session:
            accounts = await list_brokers(session, self.user_id)
        restraints = await states.list_for(self._desk, self.user_id)
        return Region(rows=tuple(broker_row(account, restraints, is_simulated=self.is_simulated(account)) for account in accounts))

    async def broker(self, broker_id: UUID, found: ConnectionTest) -> BrokerRow:
        """One of them, with the steps of a test that was made just now."""
        async with self._database.transaction() as session:
            account = await get_broker(session, self.user_id, broker_id)
        restraints = await states.list_for(self._desk, self.user_id)
        return broker_row(account, restraints, is_simulated=self.is_simulated(account), found=found)

    def environment(self, account: Broker) -> Environment:
        """What an account trades with."""
        if account.is_testnet:
            return "testnet"
        if account.is_paper:
            return "paper"
        return "simulated" if self.is_simulated(account) else "live"

    def is_simulated(self, account: Broker) -> bool:
        """Whether the account's orders go to an emulator on this machine."""
        return account.exchange == "binance" and self.app.state.settings.is_simulated

    async def hooks(self) -> Region[HookRow]:
        """The user's webhooks with what they did lately."""
        return await hook_list(self.app, self.user_id)

    async def hook_positions(self) -> Region[HookPosition]:
        """Open positions that alerts opened, with what guards them."""
        opened_by = await openers(self._database, self.user_id)
        rows = [position for position in (await self.positions()).rows if position.source is Source.WEBHOOK]
        return Region(rows=tuple(hook_position(row, opened_by.get(UUID(row.id))) for row in rows))

    async def checklist(self) -> tuple[ChecklistStep, ...]:
        """What a newcomer has still to do; empty once the first order came out of an alert."""
        return await checklist_of(self._database, self.user_id)
