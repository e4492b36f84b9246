"""A pair of orders of which one cancels the other: a limit on the market's one side, a stop on its other.

Where the venue has pairs, both go out in one request. Elsewhere both are watched here, and the one whose price is reached first is sent.
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from uuid import UUID

from app.core.ids import new_id
from app.domain.enums import Execution, OrderType, Role, Side, Source
from app.domain.instruments import Instrument, plain
from app.domain.intents import OrderIntent
from app.domain.sizing import SizedOrder, size
from app.errors import DenialReason, OrderDenied
from app.exchanges.capabilities import Capabilities
from app.trading.account import Account, check_account, check_open, find_account
from app.trading.balances import with_fresh_balance
from app.trading.desk import Desk
from app.trading.events import announce
from app.trading.gate import admit
from app.trading.pairs import send_pair
from app.trading.place import Draft, Market, deadline_of, existing, insert
from app.trading.records import OrderRecord
from app.trading.submit import find_instrument, read_market

LIMIT_LEG, STOP_LEG = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class OcoIntent:
    """The wish for a pair. Prices in quote per base, `quantity` in base units; `stop_limit_price` None makes the stop a market order."""

    symbol: str
    side: Side
    source: Source
    key: str
    quantity: Decimal
    price: Decimal
    trigger_price: Decimal
    stop_limit_price: Decimal | None = None

    def legs(self) -> tuple[OrderIntent, OrderIntent]:
        """Return the limit and the stop as intents of their own."""
        common = OrderIntent(
            symbol=self.symbol,
            side=self.side,
            source=self.source,
            key=self.key,
            quantity=self.quantity,
            role=Role.EXIT if self.side is Side.SELL else Role.ENTRY,
        )
        limit = replace(common, type=OrderType.LIMIT, price=self.price, leg=LIMIT_LEG)
        kind = OrderType.STOP_MARKET if self.stop_limit_price is None else OrderType.STOP_LIMIT
        return limit, replace(common, type=kind, trigger_price=self.trigger_price, price=self.stop_limit_price, leg=STOP_LEG)


async def submit_oco(desk: Desk, user_id: UUID, wish: OcoIntent, *, broker_id: UUID | None = None) -> tuple[OrderRecord, OrderRecord]:
    """Check, commit and send a pair; return the limit and the stop as they then stand. The same key again returns what it made.

    Raises:
        OrderDenied: a rule of ours or of the instrument forbids it; nothing was stored or sent.
        BrokerNotFound: no such account of this user.
        ExchangeUnavailable: the account's exchange cannot be reached to learn its rules; nothing was stored or sent.
    """
    check_open(desk)
    account = await find_account(desk, user_id, broker_id)
    check_account(account)
    client = await desk.connections.client(account.id)
    instrument = await find_instrument(desk, account.exchange, wish.symbol)
    intents = wish.legs()
    known = [await existing(desk, account.id, intent) for intent in intents]
    if known[0] is not None and known[1] is not None:
        return known[0], known[1]
    market = await read_market(desk, account, client, intents[0], instrument, user_id=user_id)
    price = market.price or (await client.fetch_ticker(instrument.symbol)).last
    limit, stop = (size(intent, instrument, reference_price=price) for intent in intents)
    check_sides(limit, instrument, price)
    attempt = partial(
        _store, desk, user_id, account, intents, sized=(limit, stop), instrument=instrument, capabilities=client.capabilities, market=market
    )
    stored = await with_fresh_balance(desk, client, broker_id=account.id, user_id=user_id, attempt=attempt)
    if stored is None:
        again = [await existing(desk, account.id, intent) for intent in intents]
        assert again[0] is not None  # noqa: S101  # they are what stood in the way
        assert again[1] is not None  # noqa: S101  # as above
        return again[0], again[1]
    for order in stored:
        announce(desk.bus, order)
    if stored[0].is_held or not desk.lease.is_held:
        return stored
    return await send_pair(desk, *stored, client)


async def _store(
    desk: Desk,
    user_id: UUID,
    account: Account,
    intents: tuple[OrderIntent, OrderIntent],
    *,
    sized: tuple[SizedOrder, SizedOrder],
    instrument: Instrument,
    capabilities: Capabilities,
    market: Market,
) -> tuple[OrderRecord, OrderRecord] | None:
    is_native = capabilities.has_oco and capabilities.is_native(sized[1].type)
    execution = Execution.NATIVE if is_native else Execution.SUPERVISED
    # A limit that is watched here waits for its price first, so that its other half can never be at the venue at the same time.
    legs = sized if is_native else (replace(sized[0], type=OrderType.TAKE_PROFIT_LIMIT, trigger_price=sized[0].price), sized[1])
    group_id = new_id()
    stored: list[OrderRecord] = []
    async with desk.database.raw_transaction() as connection:
        # One of the two trades, so the dearer one is what must be there.
        dearer = max(legs, key=lambda leg: leg.quantity * (leg.price or leg.trigger_price or Decimal(0)))
        reservation = await admit(
            desk,
            connection,
            account,
            dearer,
            instrument,
            user_id=user_id,
            role=intents[0].purpose,
            source=intents[0].source,
            bot_id=intents[0].bot_id,
            reference_price=market.price,
        )
        for intent, order in zip(intents, legs, strict=True):
            held = reservation if order is legs[0] else replace(reservation, amount=Decimal(0))
            draft = Draft(
                user_id=user_id,
                account=account,
                intent=intent,
                order=order,
                execution=execution,
                reservation=held,
                deadline=deadline_of(desk, intent, execution),
                group_id=group_id,
            )
            row = await insert(desk, connection, draft)
            if row is None:
                return None
            stored.append(row)
    return stored[0], stored[1]


def check_sides(limit: SizedOrder, instrument: Instrument, market_price: Decimal) -> None:
    """Pass when the limit waits too: one that trades at once needs no pair.

    Raises:
        OrderDenied: PLAN_INVALID.
    """
    assert limit.price is not None  # noqa: S101  # it is a limit order
    is_waiting = limit.price > market_price if limit.side is Side.SELL else limit.price < market_price
    if not is_waiting:
        where = "above" if limit.side is Side.SELL else "below"
        raise OrderDenied(
            DenialReason.PLAN_INVALID,
            f"the limit of a {limit.side} pair must be {where} the market, which is {plain(market_price)} {instrument.quote}; "
            f"was {plain(limit.price)}",
            field="price",
        )
