"""How bots stand at a close: their ledgers, their accounts, prices and fees; read for many bots at once."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import structlog

from app.bots.roster import LiveBot
from app.core.i18n import N_
from app.domain.enums import OrderType, Role, Source
from app.domain.fees import FeeRates
from app.domain.instruments import Instrument
from app.domain.ticket import USUAL_FEES
from app.errors import AppError
from app.trading.bot_ledger import BotLedger, OpenOrder, read_ledgers
from app.trading.desk import Desk
from app.trading.fees import fee_terms

log = structlog.get_logger(__name__)

_ACCOUNTS: Final = "SELECT id, is_active, paused_reason, removed_at, trading_modes FROM brokers WHERE id = ANY ($1::uuid[])"
#: The last word of a bot's strategy about trailing, since it entered: said with the entry, or later.
_TRAILING: Final = """
SELECT b.id, t.trailing FROM unnest($1::uuid[], $2::timestamptz[]) AS b (id, since)
 CROSS JOIN LATERAL (
   SELECT (decision ->> 'trailing')::numeric AS trailing FROM bot_signals
    WHERE bot_id = b.id AND action <> 'none' AND open_time > b.since AND decision ->> 'trailing' IS NOT NULL
    ORDER BY open_time DESC LIMIT 1) t
"""
#: What fills of an account cost is believed for so long.
_FEES_GOOD_FOR_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one bot stands. Amounts are in quote units, prices in quote per base.

    `price` is what a market buy would pay now, `close` the close of its candle. `trailing` is the fraction at which its stop follows, None
    for none. `closed_because` is why its account takes no orders, a sentence; None while it does.
    """

    bot: LiveBot
    ledger: BotLedger
    instrument: Instrument
    fees: FeeRates
    price: Decimal | None
    trailing: Decimal | None
    closed_because: str | None

    @property
    def is_flat(self) -> bool:
        """Whether it holds nothing that it could sell. A crumb is no position: who waited for its end would never trade again."""
        return self.ledger.quantity <= 0 or self.is_crumb

    @property
    def is_crumb(self) -> bool:
        """Whether what it holds is too little for its exchange, as of a limit entry that was filled by a hair before it was taken back.

        Not while an order may still make more of it: a wish to sell would be over before what that buys is there.
        """
        if self.unsettled is not None:
            return False
        held, price, rules = self.ledger.quantity, self.price or self.ledger.average_price, self.instrument
        smallest = max(rules.min_quantity or Decimal(0), rules.step_size)
        return held > 0 and (held < smallest or (price is not None and held * price < (rules.min_notional or Decimal(0))))

    @property
    def bound(self) -> Decimal:
        """What was paid for what it holds."""
        return self.ledger.quantity * (self.ledger.average_price or Decimal(0))

    @property
    def unsettled(self) -> OpenOrder | None:
        """An order of its that is neither a guard of its position nor a resting entry, and not settled yet."""
        return next((one for one in self.ledger.open_orders if one.role not in (Role.STOP, Role.TARGET)), None)

    @property
    def resting(self) -> tuple[OpenOrder, ...]:
        """Entries that rest at their limit."""
        return tuple(one for one in self.ledger.open_orders if one.role is Role.ENTRY and one.type is OrderType.LIMIT)

    def equity(self, price: Decimal | None) -> Decimal:
        """Return what the bot is worth at a price."""
        return self.ledger.equity(self.bot.capital, price)


class Standings:
    """Reads how bots stand."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._fees: dict[UUID, tuple[float, FeeRates]] = {}

    async def read(self, bots: Sequence[LiveBot]) -> dict[UUID, Standing]:
        """Return how these bots stand, by id; one whose symbol is not known at its account's exchange is left out."""
        by_user: defaultdict[UUID, list[LiveBot]] = defaultdict(list)
        for bot in bots:
            by_user[bot.user_id].append(bot)
        async with self._desk.database.connection() as connection:
            ledgers: dict[UUID, BotLedger] = {}
            for user_id, own in by_user.items():
                ledgers |= await read_ledgers(connection, user_id, [bot.id for bot in own])
            accounts = {row["id"]: row for row in await connection.fetch(_ACCOUNTS, list({bot.broker_id for bot in bots}))}
            trailing = await _trailing(connection, bots, ledgers)
        await asyncio.gather(*(self._know_fees(bot) for bot in {bot.broker_id: bot for bot in bots}.values()))
        listed = {exchange: await self._listed(exchange) for exchange in {bot.broker_exchange for bot in bots}}
        found = {}
        for bot in bots:
            instrument = listed[bot.broker_exchange].get(bot.market.symbol)
            if instrument is not None:
                found[bot.id] = Standing(
                    bot=bot,
                    ledger=ledgers[bot.id],
                    instrument=instrument,
                    fees=self._fees[bot.broker_id][1],
                    price=self._desk.quotes.reference_price(bot.broker_exchange, bot.market.symbol, is_buy=True),
                    trailing=trailing.get(bot.id),
                    closed_because=self._closed(accounts.get(bot.broker_id)),
                )
        return found

    async def _listed(self, exchange: str) -> Mapping[str, Instrument]:
        """Nothing, of an exchange whose rules are neither stored nor to be had now: the bots of the others go on."""
        try:
            return await self._desk.instruments.all(exchange)
        except AppError:
            log.warning("bots_without_instruments", exchange=exchange)
            return {}

    @staticmethod
    def _closed(account: Any) -> str | None:
        if account is None or account["removed_at"] is not None:
            return N_("the account was removed")
        if not account["is_active"]:
            return N_("the account is switched off")
        if account["paused_reason"] is not None:
            return str(account["paused_reason"])
        if Source.BOT.value not in account["trading_modes"]:
            return N_("the account takes no orders of bots")
        return None

    async def _know_fees(self, bot: LiveBot) -> None:
        known = self._fees.get(bot.broker_id)
        if known is None or time.monotonic() - known[0] > _FEES_GOOD_FOR_S:
            rates = (await fee_terms(self._desk, bot.user_id, bot.broker_id)).rates or USUAL_FEES.rates
            self._fees[bot.broker_id] = (time.monotonic(), rates)


async def _trailing(connection: Any, bots: Sequence[LiveBot], ledgers: dict[UUID, BotLedger]) -> dict[UUID, Decimal]:
    held = [(bot, ledgers[bot.id].opened_at) for bot in bots if ledgers[bot.id].quantity > 0]
    # An entry fills after its candle's close and, should it rest, before the next one's: what was said before is of another position.
    since = [(bot.id, opened - 2 * bot.period) for bot, opened in held if opened is not None]
    if not since:
        return {}
    rows = await connection.fetch(_TRAILING, *map(list, zip(*since, strict=True)))
    return {row["id"]: row["trailing"] for row in rows}
