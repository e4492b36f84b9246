"""One comparison: what a bot did is read, its life is simulated again on the same candles, and what differs is stored and told."""

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

import numpy as np
import structlog

from app.backtests.data import Prepared, Wanted
from app.backtests.deciding import decide, decisions_of, describe, judged, load, shared
from app.backtests.running import Tools
from app.core.clock import Clock
from app.core.i18n import N_
from app.domain.candles import to_milliseconds
from app.domain.instruments import Instrument
from app.domain.safeguards import numbers_of, read_safeguards
from app.domain.simulation import SimulationCosts
from app.errors import BotNotFound, ShadowTooEarly, SymbolNotFound
from app.marketdata.candle_sources import Series
from app.notifications.kinds import NoticeKind, Severity
from app.notifications.notices import Notice, put
from app.sandbox.messages import Described
from app.sandbox.quotas import Purpose
from app.shadow.causes import Cause
from app.shadow.pool import Compared, Terms, compare_in_pool
from app.shadow.queue import Claimed, keep
from app.shadow.reading import Life, life_of, read_bot, read_life
from app.shadow.recorded import Recorded
from app.trading.desk import Desk
from app.trading.fees import fee_terms

log = structlog.get_logger(__name__)

#: Candles before the warm-up, as live strategies see them: averages remember what was before their window a little.
_BEYOND: Final = 500
_TITLE: Final = N_("%(name)s differs from its shadow")
_TEXT: Final = N_("It made %(live)s %(quote)s, its re-simulation %(shadow)s %(quote)s. Its page says why, cause by cause.")
_TITLE_DECISION: Final = N_("%(name)s decided otherwise than its shadow on the same candles")
_TEXT_DECISION: Final = N_("That must not happen. Its page shows the candles; please report it with the strategy's version.")
_PREVIOUS: Final = """
SELECT live - shadow AS off, causes ? 'decision' AS has_decision FROM bot_shadows
 WHERE bot_id = $1 AND day < $2 AND live IS NOT NULL ORDER BY day DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowTools:
    """What comparisons need.

    Attributes:
        backtests: What backtests need: they are simulated alike.
        desk: Knows accounts' fees and exchanges' rules.
        clock: Tells which candles have closed.
        slippage: By how much the shadow's orders at the market are filled beside the candle's price; 0 shows all of the bot's own.
        alert_fraction: Of the capital; whoever differs by more than the day before is told.
    """

    backtests: Tools
    desk: Desk
    clock: Clock
    slippage: Decimal
    alert_fraction: Decimal


class ShadowRun:
    """One comparison.

    Args:
        tools: What it needs.
        claimed: Which one.
    """

    def __init__(self, tools: ShadowTools, claimed: Claimed) -> None:
        self._tools, self._claimed = tools, claimed

    async def work(self) -> None:
        """Compare, store and tell.

        Raises:
            BotNotFound: it was deleted.
            ShadowTooEarly: no candle of it has closed yet.
            AppError: as a backtest fails.
        """
        now = self._tools.clock.now()
        async with self._tools.backtests.database.connection() as connection:
            row = await read_bot(connection, self._claimed.user_id, self._claimed.bot_id)
            if row is None:
                raise BotNotFound
            life = life_of(row, now)
            if life is None:
                raise ShadowTooEarly
            recorded = await read_life(connection, life, now)
        costs, terms = await self._costs(life)
        found, rows = await self._compared(life, recorded, costs, terms)
        header = {
            "capital": f"{row['capital']:f}", "fee": f"{terms.fee:f}", "maker_fee": f"{terms.maker_fee:f}",
            "slippage": f"{self._tools.slippage:f}", "version": row["version"], "parameters": row["parameters"], "candles": rows,
            "quote": row["symbol"].partition("/")[2],
        }  # fmt: skip
        await self._store(life, found, header)

    async def _costs(self, life: Life) -> tuple[SimulationCosts, Terms]:
        row, tools = life.row, self._tools
        instrument: Instrument | None = await tools.desk.instruments.get(row["broker_exchange"], row["symbol"])
        if instrument is None:
            raise SymbolNotFound(N_(f"{row['broker_exchange']} does not list {row['symbol']} any more"))
        rates = (await fee_terms(tools.desk, row["user_id"], row["broker_id"])).rates
        costs = SimulationCosts(
            capital=float(row["capital"]),
            fee=float(rates.taker),
            maker_fee=float(rates.maker),
            slippage=float(tools.slippage),
            step=float(instrument.step_size),
            tick=float(instrument.tick_size),
            least_notional=float(instrument.min_notional or 0),
            safeguards=numbers_of(read_safeguards(row["safeguards"]), life.timeframe.milliseconds),
        )
        return costs, Terms(fee=rates.taker, maker_fee=rates.maker, step=instrument.step_size, by_account=True)

    async def _compared(self, life: Life, recorded: Recorded, costs: SimulationCosts, terms: Terms) -> tuple[Compared, int]:
        tools, row = self._tools.backtests, life.row
        source, parameters, user_id = row["source"], row["parameters"], row["user_id"]
        described = await describe(tools.jail, user_id, source, parameters)
        # A strategy whose signals are arrays decides whatever it holds.
        terms = replace(terms, by_account=described.style not in ("signals", "both"))
        wanted = Wanted(
            exchange=row["exchange"], symbol=row["symbol"], timeframe=life.timeframe,
            start=life.first - _BEYOND * life.timeframe.duration, end=life.end,
        )  # fmt: skip
        async with tools.room.held(await tools.data.expected(wanted, described)):
            prepared = _from(await tools.data.prepare(wanted, described, told=_nobody), life, described)
            async with (
                shared(tools.pool, prepared) as lent,
                tools.jail.worker(
                    user_id=user_id, purpose=Purpose.BACKTEST, frames=prepared.lent_frames, result_rows=len(prepared.candles)
                ) as worker,
            ):
                await load(worker, source, parameters)
                await decide(worker, prepared, costs, is_long_only=True)
                decisions = await decisions_of(tools.pool, worker, len(prepared.candles))
                computed = tools.pool.run(compare_in_pool, lent.task(costs), decisions, recorded, terms)
                found: Compared = await judged(tools.jail, worker, computed)
        return found, len(prepared.candles) - prepared.start

    async def _store(self, life: Life, found: Compared, header: dict[str, Any]) -> None:
        now = self._tools.clock.now()
        async with self._tools.backtests.database.raw_transaction() as connection:
            is_kept = await keep(connection, self._claimed, found, first=life.first, until=life.end, header=header, now=now)
            if is_kept:
                await self._tell(connection, life, found)

    async def _tell(self, connection: Any, life: Life, found: Compared) -> None:
        """Tell the owner of a decision that must not differ, and of a difference that has grown."""
        row, day = life.row, self._claimed.day
        before = await connection.fetchrow(_PREVIOUS, row["id"], day)
        grown = abs(found.live - found.shadow - (before["off"] if before is not None else Decimal(0)))
        has_decision = Cause.DECISION.value in found.causes and not (before is not None and before["has_decision"])
        if not has_decision and grown <= self._tools.alert_fraction * row["capital"]:
            return
        values = {
            "name": row["name"],
            "live": f"{found.live:.2f}",
            "shadow": f"{found.shadow:.2f}",
            "quote": row["symbol"].partition("/")[2],
        }
        notice = Notice(
            kind=NoticeKind.SHADOW_DIFFERS,
            severity=Severity.ERROR if has_decision else Severity.WARNING,
            title=_TITLE_DECISION if has_decision else _TITLE,
            text=_TEXT_DECISION if has_decision else _TEXT,
            values=values,
            url=f"/bots/{row['number']}?tab=shadow",
            key=f"shadow:{row['id']}:{day}",
            at=self._tools.clock.now(),
        )
        await put(connection, notice, user_id=row["user_id"])


def _from(prepared: Prepared, life: Life, described: Described) -> Prepared:
    """Let the strategy decide from the first candle of the life on, with what lies before as history."""
    first = int(np.searchsorted(prepared.candles.time, to_milliseconds(life.first)))
    return replace(prepared, start=max(first, described.warm_up))


def _nobody(_series: Series, _done: int, _total: int, _wait_s: float) -> None:
    """Nobody watches how far fetching is."""
