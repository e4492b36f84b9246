"""The monitor's regions, read from the database: the header, the cards, the log. The page and its stream show the same ones."""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.bots.log import Said
from app.bots.models import BotMode, BotState
from app.bots.monitor import BotRow, Held, monitor_rows
from app.bots.overview import BotTitleRow, ClosedTrade, LogEntry, bot_titles, count_bots, last_trades, log_entries, sparks
from app.bots.safeguard_service import get_safeguards
from app.brokers.models import Broker
from app.brokers.service import list_brokers
from app.core.i18n import N_, gettext
from app.core.sentences import said, said_with
from app.domain.instruments import Instrument
from app.strategies.queries import counts
from app.ui.money import labels_of, rates_of
from app.ui.regions import Regions
from app.ui.views.bots import (
    BotCard,
    BotCards,
    BotLog,
    BotPosition,
    BotTarget,
    BotTitle,
    BotTotals,
    LastSignal,
    LogLine,
    RunningBots,
    Spark,
    TradeMark,
)
from app.ui.views.shell import Choice

_MOST_CARDS: Final = 120
_LINES: Final = 50
_DAY: Final = timedelta(days=1)
_FRESH_FOR: Final = timedelta(seconds=20)
#: Shorter than the gap between two messages of a stream.
_SHARED_FOR_S: Final = 0.3
_NOTHING: Final = Decimal(0)
#: The box of a spark: its width and height, and the room above and below its line.
_WIDTH: Final = Decimal(100)
_HEIGHT: Final = Decimal(28)
_EDGE: Final = Decimal(2)
#: What can be chosen to be shown, and the states that it means.
SHOWN: Final[dict[str, tuple[str, frozenset[BotState]]]] = {
    "active": (N_("Not stopped"), frozenset(BotState) - {BotState.STOPPED}),
    "running": (N_("Running"), frozenset({BotState.RUNNING})),
    "trouble": (N_("Suspended or faulted"), frozenset({BotState.SUSPENDED, BotState.FAULTED})),
    "ready": (N_("Ready"), frozenset({BotState.READY})),
    "stopped": (N_("Stopped"), frozenset({BotState.STOPPED})),
    "all": (N_("All"), frozenset(BotState)),
}
LOGS: Final = ("all", "acted", "problems")
#: Who is in trouble comes first, then who trades, then who waits to.
_ORDER: Final = (BotState.FAULTED, BotState.RUNNING, BotState.SUSPENDED, BotState.READY, BotState.STOPPED)


def words_of(told: Said | None) -> str:
    """Return a stored sentence in the reader's language; "" for none."""
    return "" if told is None else said_with(told.message, told.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What of the bots a monitor shows. `log` is "" where it shows an older page, which stands still."""

    show: str = "active"
    search: str = ""
    log: str = "all"
    before: datetime | None = None

    @classmethod
    def of(cls, *, show: str = "", search: str = "", log: str = "", before: datetime | None = None) -> "Shown":
        """Return what an address asks for; what it cannot mean is the usual."""
        clean = " ".join("".join(sign if sign.isprintable() and sign not in ",:" else " " for sign in search).split())[:40]
        return cls(show=show if show in SHOWN else "active", search=clean, log=log if log in LOGS else "all", before=before)

    @property
    def states(self) -> frozenset[BotState]:
        """The states that are shown."""
        return SHOWN[self.show][1]


@dataclass(slots=True, kw_only=True)
class Monitor:
    """Builds the monitor of one user. Sparks are read again every twenty seconds only, however often cards are."""

    regions: Regions
    shown: Shown = field(default_factory=Shown)
    _sparks: dict[UUID, tuple[Decimal, ...]] = field(default_factory=dict)
    _sparks_at: datetime | None = None
    _rows: dict[bool, tuple[float, list[BotRow]]] = field(default_factory=dict)

    async def rows(self, *, bot_id: UUID | None = None, with_stopped: bool = False) -> list[BotRow]:
        """Return the user's bots, or one of them."""
        app = self.regions.app
        read_at, rows = self._rows.get(with_stopped, (-_SHARED_FOR_S, []))
        # The header and the cards, which are made one after the other, are of the same rows.
        if bot_id is None and time.monotonic() - read_at < _SHARED_FOR_S:
            return rows
        async with app.state.database.transaction() as session:
            rows = await monitor_rows(
                session,
                self.regions.user_id,
                now=app.state.clock.now(),
                price=app.state.desk.quotes.last_price,
                bot_id=bot_id,
                with_stopped=with_stopped,
            )
        if bot_id is None:
            self._rows[with_stopped] = (time.monotonic(), rows)
        return rows

    async def cards(self) -> BotCards:
        """Return the cards that are shown."""
        shown, app = self.shown, self.regions.app
        found = await self.rows(with_stopped=BotState.STOPPED in shown.states)
        rows = sorted((row for row in found if row.state in shown.states and _has(row, shown.search)), key=_place)
        async with app.state.database.transaction() as session:
            has_any = bool(found) or bool(
                await monitor_rows(session, self.regions.user_id, now=app.state.clock.now(), with_stopped=True, limit=1)
            )
            current, _ = await counts(session, self.regions.user_id)
        return BotCards(
            rows=tuple(await self.cards_of(rows[:_MOST_CARDS])),
            show=shown.show,
            search=shown.search,
            has_any=has_any,
            has_strategy=current > 0,
            more=max(0, len(rows) - _MOST_CARDS),
        )

    async def cards_of(self, rows: Sequence[BotRow]) -> list[BotCard]:
        """Return the cards of these rows."""
        app, user_id = self.regions.app, self.regions.user_id
        ids = [row.id for row in rows]
        now: datetime = app.state.clock.now()
        async with app.state.database.transaction() as session:
            accounts = {account.id: account for account in await list_brokers(session, user_id)}
            trades = await last_trades(session, user_id, ids)
            if self._sparks_at is None or now - self._sparks_at > _FRESH_FOR:
                self._sparks, self._sparks_at = await sparks(session, user_id, ids, since=now - _DAY), now
        return [
            self._card(
                row, accounts.get(row.broker_id), await self.regions.rule_of(row.broker_exchange, row.symbol), trades.get(row.id, ())
            )
            for row in rows
        ]

    def _card(self, row: BotRow, account: Broker | None, rules: Instrument | None, trades: Iterable[ClosedTrade]) -> BotCard:
        told, signal = words_of(row.state_reason), row.last_signal
        is_running = row.state is BotState.RUNNING
        return BotCard(
            title=self.title(row, account),
            capital=row.capital,
            equity=row.equity,
            net=row.profit / row.capital,
            today=row.today if row.started_at is not None else None,
            # Of one that runs, it says what it waits for.
            reason=_fault_words(row) if row.fault is not None and row.state is BotState.FAULTED else "" if is_running else told,
            blocked=told if is_running else "",
            waiting=int(row.waiting_id is not None),
            position=None if row.held is None else position_of(row, row.held, rules),
            signal=None
            if signal is None
            else LastSignal(at=signal.open_time, action=signal.action, state=signal.state, words=words_of(signal.reason)),  # type: ignore[arg-type]  # the columns have checks
            trades=tuple(TradeMark(profit=one.profit, closed_at=one.closed_at) for one in trades),
            next_at=row.next_candle_at,
            spark=spark_of(self._day_of(row), row.equity),
        )

    def _day_of(self, row: BotRow) -> tuple[Decimal, ...]:
        """The last day of its equity; of one that began within it, from its capital on."""
        points = self._sparks.get(row.id, ())
        began = row.started_at is not None and self._sparks_at is not None and row.started_at > self._sparks_at - _DAY
        return (row.capital, *points) if began else points

    def title(self, row: BotRow, account: Broker | None) -> BotTitle:
        """Return which bot it is; `account` is None where it was removed."""
        return BotTitle(
            id=str(row.id),
            number=row.number,
            name=row.name,
            strategy=row.strategy_name,
            version=row.version,
            symbol=row.symbol,
            timeframe=row.timeframe,
            account=row.broker_name,
            mode=row.mode.value,
            state=row.state.value,
            env="paper" if row.mode is BotMode.PAPER else "live" if account is None else self.regions.environment(account),
        )

    async def totals(self) -> BotTotals:
        """Return the header: of all bots that are not stopped, whatever the filter."""
        rows = await self.rows()
        sums: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
        bare = 0
        for row in rows:
            quote = row.symbol.partition("/")[2]
            for name, value in (("equity", row.equity), ("capital", row.capital), ("today", row.today if row.started_at else _NOTHING)):
                sums[name][quote] += value
            if row.held is not None:
                risk = risk_of(row.held, row.price)
                bare += row.held.stop_price is None
                sums["risk"][quote] += risk or _NOTHING
        async with self.regions.app.state.database.transaction() as session:
            loss = (await get_safeguards(session, self.regions.user_id)).daily_loss
        rates = await rates_of(self.regions.app)
        rate = rates.into(self.regions.currency)
        equity, capital, today, risk = (rates.sum_usdt(dict(sums[name])) for name in ("equity", "capital", "today", "risk"))
        limit = None if loss is None or not capital else loss.fraction * capital
        return BotTotals(
            **labels_of(rate),
            bots=len(rows),
            running=sum(row.state is BotState.RUNNING for row in rows),
            faulted=sum(row.state is BotState.FAULTED for row in rows),
            equity=rate.of(equity),
            capital=rate.of(capital),
            today=rate.of(today),
            risk=rate.of(risk),
            risk_share=risk / equity if risk is not None and equity else None,
            bare=bare,
            loss_fraction=None if loss is None else loss.fraction,
            loss_limit=rate.of(limit),
            loss_share=None if limit is None or today is None else min(Decimal(1), max(_NOTHING, -today) / limit),
        )

    async def log(self) -> BotLog:
        """Return the newest lines of the log of all bots, or older ones."""
        app, user_id = self.regions.app, self.regions.user_id
        async with app.state.database.transaction() as session:
            names = await bot_titles(session, user_id)
            events = await entries_of(session, user_id, self.shown)
        return log_of(events, self.shown, names=names, place="/bots")

    async def running(self) -> RunningBots:
        """Return the dashboard's bots: those at work, and those that want somebody."""
        app = self.regions.app
        rows = sorted((row for row in await self.rows() if row.state is not BotState.READY), key=_place)
        async with app.state.database.transaction() as session:
            found = await count_bots(session, self.regions.user_id)
            current, _ = await counts(session, self.regions.user_id)
        return RunningBots(rows=tuple(await self.cards_of(rows[:8])), bots=found.bots, has_strategy=current > 0)


async def entries_of(session: AsyncSession, user_id: UUID, shown: Shown, *, bot_id: UUID | None = None) -> list[LogEntry]:
    """Return the lines that are shown, and one more if there is one."""
    return await log_entries(
        session,
        user_id,
        bot_id=bot_id,
        before=shown.before,
        limit=_LINES + 1,
        with_quiet=shown.log == "all",
        only_problems=shown.log == "problems",
    )


def log_of(events: Sequence[LogEntry], shown: Shown, *, names: Mapping[UUID, BotRow | BotTitleRow], place: str, number: int = 0) -> BotLog:
    """Return lines as a region; `events` has one more than is shown, if there is one."""
    rows, tab = events[:_LINES], "&tab=log" if number else ""
    path = f"{place}?log={shown.log}{tab}"
    return BotLog(
        rows=tuple(_line(event, names.get(event.bot_id)) for event in rows),
        number=number,
        show=shown.log,
        next=f"{path}&{urlencode({'before': written(rows[-1].at)})}" if len(events) > _LINES else "",
        newest=path if shown.before is not None else "",
    )


def _line(event: LogEntry, row: BotRow | BotTitleRow | None) -> LogLine:
    line = (row.fault or {}).get("line") if row is not None and event.kind == "faulted" else None
    return LogLine(
        id=event.id,
        at=event.at,
        level=event.level,  # type: ignore[arg-type]  # the column has a check
        kind=event.kind,
        words=words_of(event.told),
        number=0 if row is None else row.number,
        name="" if row is None else row.name,
        symbol="" if row is None or row.symbol in row.name else row.symbol,
        line=int(line or 0),
        href=f"/strategies/{row.strategy_id}?version={row.version}#L{line}" if line and row is not None else "",
    )


def written(moment: datetime) -> str:
    """Return a moment as addresses have it."""
    return moment.isoformat().replace("+00:00", "Z")


def position_of(row: BotRow, held: Held, rules: Instrument | None) -> BotPosition:
    """Return what a bot holds."""
    cost = held.quantity * held.entry_price if held.entry_price is not None else None
    return BotPosition(
        id=str(held.position_id),
        quantity=held.quantity,
        average_price=held.entry_price or _NOTHING,
        opened_at=held.opened_at,
        mark_price=row.price,
        worth=held.quantity * row.price if row.price is not None else None,
        unrealised=held.unrealized,
        unrealised_pct=held.unrealized / cost if held.unrealized is not None and cost else None,
        stop=held.stop_price,
        targets=() if held.target_price is None else (BotTarget(price=held.target_price),),
        risk=risk_of(held, row.price),
        tick=rules.tick_size if rules else None,
        step=rules.step_size if rules else None,
    )


def risk_of(held: Held, price: Decimal | None) -> Decimal | None:
    """Return what is lost from now on if the stop is hit, in quote units; None without a stop or a price."""
    if held.stop_price is None or price is None:
        return None
    return max(_NOTHING, held.quantity * (price - held.stop_price))


def spark_of(points: Sequence[Decimal], now: Decimal) -> Spark | None:
    """Return a line through these values and the present one; None where there is nothing to be drawn."""
    values = [*points, now]
    if len(values) < 2:
        return None
    low, high = min(values), max(values)
    spread, last = high - low, len(values) - 1
    room = _HEIGHT - 2 * _EDGE

    def point(at: int, value: Decimal) -> str:
        across = _WIDTH * at / last
        down = _HEIGHT / 2 if not spread else _EDGE + room * (high - value) / spread
        return f"{across:.1f},{down:.1f}"

    change = now / values[0] - 1 if values[0] else _NOTHING
    return Spark(points=" ".join(point(at, value) for at, value in enumerate(values)), change=change)


def state_choices() -> tuple[Choice, ...]:
    """Return what can be chosen to be shown."""
    return tuple(Choice(value=name, label=gettext(words)) for name, (words, _) in SHOWN.items())


def _fault_words(row: BotRow) -> str:
    fault = row.fault or {}
    line, message = fault.get("line"), said(str(fault.get("message", "")))
    return gettext("line %(line)s: %(message)s") % {"line": line, "message": message} if line else message


def _has(row: BotRow, search: str) -> bool:
    wanted = search.casefold()
    return any(wanted in text.casefold() for text in (row.name, row.symbol, row.symbol.replace("/", ""), row.strategy_name))


def _place(row: BotRow) -> tuple[bool, int, int]:
    return row.waiting_id is None, _ORDER.index(row.state), -row.number
