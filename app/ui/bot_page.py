"""The regions of one bot's page, read from the database. The page and its stream show the same ones."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.backtests.service import get_backtest
from app.bots import queries
from app.bots.lifecycle import answer_until
from app.bots.models import Bot, BotSignal, BotState, SignalAction
from app.bots.monitor import BotRow
from app.bots.safeguard_service import get_safeguards
from app.bots.service import get_bot
from app.core.i18n import N_, gettext
from app.core.sentences import said, said_with
from app.domain.candles import Timeframe
from app.domain.enums import Role
from app.domain.instruments import Instrument, plain
from app.domain.safeguards import read_safeguards
from app.errors import BacktestNotFound, BotNotFound
from app.shadow import service as shadows
from app.shadow.reading import life_of, read_bot
from app.trading.bot_ledger import BotLedger, read_ledger
from app.ui.backtest_result import written_parameter
from app.ui.bot_cards import LOGS, Monitor, Shown, entries_of, log_of, written
from app.ui.bot_shadow import shadow_region
from app.ui.bot_trips import trip_row
from app.ui.safeguard_lines import safeguard_lines
from app.ui.symbols import exchange_name
from app.ui.views.bot import (
    ApprovalRow,
    BotFault,
    BotLive,
    BotSettings,
    BotTrade,
    FactLine,
    OrderLink,
    SignalList,
    SignalRow,
    TradeList,
)
from app.ui.views.bot_shadow import BotShadow
from app.ui.views.bots import BotCard, BotLog, BotTarget

_SIGNALS: Final = 50
_TRADES: Final = 50
_POINTS: Final = 1500
_LAST_TRIPS: Final = 5
_ENDED_BY: Final = {
    Role.STOP: N_("Stop"),
    Role.TARGET: N_("Target"),
    Role.EXIT: N_("Exit rule"),
    Role.FLATTEN: N_("Sold by hand or by a safeguard"),
    Role.ENTRY: N_("Sold by hand or by a safeguard"),
}
SIGNALS: Final = ("all", "acted")


@dataclass(frozen=True, slots=True, kw_only=True)
class OneShown:
    """What of one bot its page shows. A list that shows older lines (`before` is set) stands still."""

    signals: str = "all"
    log: str = "all"
    signals_before: datetime | None = None
    trades_before: UUID | None = None
    log_before: datetime | None = None

    @property
    def topic(self) -> str:
        """How the page's stream is told: what each list shows, "-" for one that stands still."""
        signals = "-" if self.signals_before is not None else self.signals
        trades = "-" if self.trades_before is not None else "all"
        return f"{signals}:{trades}:{'-' if self.log_before is not None else self.log}"

    @classmethod
    def of_topic(cls, text: str) -> "OneShown":
        """Return what a topic tells of the lists that go on."""
        signals, _, rest = text.partition(":")
        log = rest.partition(":")[2]
        return cls(signals=signals if signals in SIGNALS else "all", log=log if log in LOGS else "all")


@dataclass(slots=True, kw_only=True)
class BotRegions:
    """Builds the regions of one bot. The bot is read anew each time; one that is gone is `BotNotFound`."""

    monitor: Monitor
    bot_id: UUID
    shown: OneShown

    @property
    def _app(self) -> Any:
        return self.monitor.regions.app

    @property
    def _user_id(self) -> UUID:
        return self.monitor.regions.user_id

    async def row(self) -> BotRow:
        """Return the bot as the monitor has it.

        Raises:
            BotNotFound: it is gone.
        """
        rows = await self.monitor.rows(bot_id=self.bot_id, with_stopped=True)
        if not rows:
            raise BotNotFound
        return rows[0]

    async def card(self) -> BotCard:
        """Return its card. Raises as `row`."""
        return (await self.monitor.cards_of([await self.row()]))[0]

    async def live(self) -> BotLive:
        """Return how it stands. Raises as `row`."""
        row = await self.row()
        card = (await self.monitor.cards_of([row]))[0]
        rules = await self.monitor.regions.rule_of(row.broker_exchange, row.symbol)
        async with self._app.state.database.transaction() as session:
            bot = await get_bot(session, self._user_id, self.bot_id)
            waiting = None if row.waiting_id is None else await queries.get_signal(session, self._user_id, row.waiting_id)
            trips = await queries.active_trips(session, self._user_id, self.bot_id)
        async with self._app.state.database.connection() as connection:
            ledger = await read_ledger(connection, self._user_id, self.bot_id)
        peak = bot.peak_equity
        return BotLive(
            card=_with_targets(card, ledger),
            realised=ledger.realized_pnl,
            fees=ledger.fees,
            drawdown=max(Decimal(0), 1 - card.equity / peak) if peak else None,
            fault=_fault(bot, row) if row.state is BotState.FAULTED else None,
            approvals=() if waiting is None else (_approval(waiting, row, rules),),
            trips=tuple(trip_row(trip) for trip in trips[:_LAST_TRIPS]),
            started_at=bot.started_at,
            stopped_at=bot.stopped_at,
            end_at=bot.end_at,
        )

    async def settings(self, card: BotCard) -> BotSettings:
        """Return what it was made of. Raises as `row`."""
        row = await self.row()
        async with self._app.state.database.transaction() as session:
            bot = await get_bot(session, self._user_id, self.bot_id)
            backtest = await _backtest_number(session, self._user_id, bot)
            of_user = await get_safeguards(session, self._user_id)
        return BotSettings(
            title=card.title,
            strategy_id=str(row.strategy_id),
            capital=row.capital,
            feed=exchange_name(row.exchange),
            venue="" if row.exchange == row.broker_exchange else exchange_name(row.broker_exchange),
            created_at=bot.created_at,
            start_at=bot.start_at,
            end_at=bot.end_at,
            backtest=backtest,
            safeguards=safeguard_lines(read_safeguards(bot.safeguards), card.title.quote),
            of_user=safeguard_lines(of_user, card.title.quote),
            parameters=tuple(FactLine(name=name, value=written_parameter(value)) for name, value in bot.parameters.items()),
        )

    async def signals(self) -> SignalList:
        """Return its decisions, newest first."""
        shown, row = self.shown, await self.row()
        rules = await self.monitor.regions.rule_of(row.broker_exchange, row.symbol)
        async with self._app.state.database.transaction() as session:
            found = await queries.list_signals(
                session, self._user_id, self.bot_id, before=shown.signals_before, limit=_SIGNALS + 1, is_wanted=shown.signals == "acted"
            )
        path, rows = f"/bots/{row.number}?signals={shown.signals}", found[:_SIGNALS]
        after = written(rows[-1].open_time) if len(found) > _SIGNALS else ""
        return SignalList(
            rows=tuple(_signal(one, rules) for one in rows),
            number=row.number,
            show=shown.signals,
            next=f"{path}&before={after}" if after else "",
            newest=path if shown.signals_before is not None else "",
        )

    async def trades(self) -> TradeList:
        """Return its trades that are over, newest first."""
        row = await self.row()
        rules = await self.monitor.regions.rule_of(row.broker_exchange, row.symbol)
        async with self._app.state.database.transaction() as session:
            found = await queries.list_trades(session, self._user_id, self.bot_id, before=self.shown.trades_before, limit=_TRADES + 1)
        path, rows = f"/bots/{row.number}?tab=trades", found[:_TRADES]
        return TradeList(
            rows=tuple(_trade(one, rules) for one in rows if not one.is_open),
            number=row.number,
            quote=row.symbol.partition("/")[2],
            next=f"{path}&before={rows[-1].id}" if len(found) > _TRADES else "",
            newest=path if self.shown.trades_before is not None else "",
        )

    async def log(self) -> BotLog:
        """Return its log, newest first."""
        row = await self.row()
        shown = Shown(log=self.shown.log, before=self.shown.log_before)
        async with self._app.state.database.transaction() as session:
            events = await entries_of(session, self._user_id, shown, bot_id=self.bot_id)
        return log_of(events, shown, names={row.id: row}, place=f"/bots/{row.number}", number=row.number)

    async def shadow(self) -> BotShadow:
        """Return how it did beside its shadow. Raises as `row`."""
        row, database = await self.row(), self._app.state.database
        async with database.transaction() as session:
            newest = await shadows.newest(session, self._user_id, self.bot_id)
            result = await shadows.with_result(session, self._user_id, self.bot_id)
        async with database.connection() as connection:
            found = await read_bot(connection, self._user_id, self.bot_id)
        can_compare = found is not None and life_of(found, self._app.state.clock.now()) is not None
        return shadow_region(newest, result, number=row.number, quote=row.symbol.partition("/")[2], can_compare=can_compare)

    async def points(self, *, since: datetime | None = None) -> list[list[object]]:
        """Return its equity as its chart reads it: milliseconds and the amount as text, oldest first."""
        async with self._app.state.database.transaction() as session:
            found = await queries.list_equity(session, self._user_id, self.bot_id, since=since, most=_POINTS)
        return [[int(point.at.timestamp() * 1000), plain(point.equity)] for point in found]


async def _backtest_number(session: AsyncSession, user_id: UUID, bot: Bot) -> int:
    """Return the number of the backtest that it was promoted from; 0 for none, or one that is gone."""
    if bot.backtest_id is None:
        return 0
    try:
        return (await get_backtest(session, user_id, bot.backtest_id)).number
    except BacktestNotFound:
        return 0


def _with_targets(card: BotCard, ledger: BotLedger) -> BotCard:
    """Its card has the next target only; its own page has all of them."""
    if card.position is None or not ledger.targets:
        return card
    targets = tuple(BotTarget(price=one.price, fraction=one.fraction) for one in ledger.targets if one.price is not None)
    return replace(card, position=replace(card.position, targets=targets))


def _fault(bot: Bot, row: BotRow) -> BotFault:
    fault = bot.fault or {}
    line = fault.get("line")
    is_line = isinstance(line, int) and line > 0
    return BotFault(
        message=said(str(fault.get("message", ""))),
        line=line if isinstance(line, int) and line > 0 else 0,
        href=f"/strategies/{row.strategy_id}?version={row.version}" + (f"#L{line}" if is_line else ""),
        traceback=str(fault.get("traceback") or ""),
        at=datetime.fromisoformat(fault["at"]) if fault.get("at") else None,
    )


def _approval(signal: BotSignal, row: BotRow, rules: Instrument | None) -> ApprovalRow:
    quantity = _wanted(signal, row, rules)
    return ApprovalRow(
        id=str(signal.id),
        at=signal.decided_at,
        until=answer_until(signal.open_time, Timeframe(row.timeframe)),
        action=signal.action,  # type: ignore[arg-type]  # the column has a check
        words=_reason(signal),
        price=signal.price,
        quantity=quantity,
        worth=quantity * signal.price if quantity is not None and signal.price is not None else None,
        tick=rules.tick_size if rules else None,
        step=rules.step_size if rules else None,
    )


def _wanted(signal: BotSignal, row: BotRow, rules: Instrument | None) -> Decimal | None:
    """Return about how much it would come to, in base units: the order itself is sized when it is sent, fees taken off."""
    if signal.action == SignalAction.ADJUST and row.held is not None:
        part = signal.decision.get("adjust")
        return None if part is None else abs(row.held.quantity * Decimal(repr(part)))
    if signal.action != SignalAction.LONG or not signal.price:
        return None
    size = signal.decision.get("size")
    quantity = row.equity * (Decimal(1) if size is None else Decimal(repr(size))) / signal.price
    return quantity - quantity % rules.step_size if rules is not None and rules.step_size else quantity


def _reason(signal: BotSignal) -> str:
    return "" if signal.reason is None else said_with(signal.reason["message"], signal.reason["values"])


def _signal(signal: BotSignal, rules: Instrument | None) -> SignalRow:
    heard, acknowledged = signal.latency_ms.get("heard"), signal.latency_ms.get("acknowledged")
    return SignalRow(
        id=str(signal.id),
        open_time=signal.open_time,
        action=signal.action,  # type: ignore[arg-type]  # the columns have checks
        state=signal.state,  # type: ignore[arg-type]
        words=_reason(signal),
        price=signal.price,
        tick=rules.tick_size if rules else None,
        orders=_order_links(signal.order_ids),
        latency_ms=None if heard is None or acknowledged is None else round(acknowledged - heard),
    )


def _order_links(order_ids: Sequence[UUID]) -> tuple[OrderLink, ...]:
    if len(order_ids) == 1:
        return (OrderLink(id=str(order_ids[0]), label=gettext("order")),)
    return tuple(OrderLink(id=str(one), label=gettext("order %(number)s") % {"number": at}) for at, one in enumerate(order_ids, 1))


def _trade(trade: queries.BotTrade, rules: Instrument | None) -> BotTrade:
    cost = trade.quantity * trade.entry_price if trade.entry_price is not None else None
    known = Role(trade.exit_role) if trade.exit_role in set(Role) else None
    return BotTrade(
        id=str(trade.id),
        quantity=trade.quantity,
        entry=trade.entry_price or Decimal(0),
        exit=trade.exit_price,
        profit=trade.profit,
        share=trade.profit / cost if cost else None,
        opened_at=trade.opened_at,
        closed_at=trade.closed_at or trade.opened_at,
        reason="" if known is None else gettext(_ENDED_BY[known]),
        fees=trade.fees,
        tick=rules.tick_size if rules else None,
        step=rules.step_size if rules else None,
    )
