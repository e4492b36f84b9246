"""A wish as an order ticket has it: an order or a pair, and a size in any unit; made exact for one account, then submitted."""

from dataclasses import dataclass, replace
from decimal import ROUND_FLOOR, Context, Decimal
from typing import Final, Protocol
from uuid import UUID

from app.domain.book import Depth
from app.domain.enums import OrderType, Role, Side, TimeInForce
from app.domain.instruments import Instrument
from app.domain.intents import OrderIntent
from app.domain.protection import ProtectionPlan, dump_plan, fitted_plan
from app.domain.sizing import SizedOrder, asked_quantity
from app.domain.ticket import FeeTerms, MarketNow, Size, SizeBy, sized_intent
from app.errors import DenialReason, OrderDenied, RetryableError
from app.exchanges.port import ExchangeClient
from app.trading.account import Account, check_account, check_open, find_account
from app.trading.desk import Desk
from app.trading.fees import fee_terms
from app.trading.gate import free_for
from app.trading.limits import usdt_per
from app.trading.oco import OcoIntent, submit_oco
from app.trading.place import existing
from app.trading.records import OrderRecord
from app.trading.submit import find_instrument, submit
from app.trading.symbol_state import read_worth

_DOWN: Final = Context(prec=60, rounding=ROUND_FLOOR)
_RISKS: Final = (SizeBy.RISK, SizeBy.RISK_PERCENT)


class Books(Protocol):
    """Order books that are streamed or were read a moment ago."""

    async def depth(self, exchange: str, symbol: str) -> Depth | None:
        """Return the visible book; None when nobody knows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OcoPrices:
    """The prices of a pair, in quote per base; the limit of its stop may be missing."""

    price: Decimal
    trigger_price: Decimal
    stop_limit_price: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a ticket asks for. `intent` says all but how much, which `size` does; `oco` makes it a pair, of whose intent the side counts."""

    intent: OrderIntent
    size: Size | None
    oco: OcoPrices | None = None

    def with_key(self, key: str) -> "Wish":
        """Return the same wish under another key."""
        return replace(self, intent=replace(self.intent, key=key))


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where a wish is looked at: one account, the rules of its exchange there, and the market as it is now."""

    account: Account
    client: ExchangeClient
    instrument: Instrument
    market: MarketNow
    fees: FeeTerms


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """What came of a wish: one order, or the limit and the stop of a pair. `is_new` is False when its key had been used before."""

    orders: tuple[OrderRecord, ...]
    is_new: bool


async def setting_of(desk: Desk, user_id: UUID, wish: Wish, *, broker_id: UUID | None, books: Books | None) -> Setting:
    """Return where the wish is looked at. The exchange is asked for a price only where neither the feed nor a book has one.

    Raises:
        OrderDenied: the account, the symbol or this server takes no orders.
        BrokerNotFound: no such account of this user.
        ExchangeUnavailable: the exchange's rules cannot be read.
        BadCredentials: the account's keys cannot be used.
    """
    check_open(desk)
    account = await find_account(desk, user_id, broker_id)
    check_account(account)
    client = desk.connections.ready(account.id) or await desk.connections.client(account.id)
    instrument = await find_instrument(desk, account.exchange, wish.intent.symbol)
    depth = None if books is None else await books.depth(account.exchange, instrument.symbol)
    price = await _price(desk, account, client, instrument, depth, side=wish.intent.side)
    bare = SizedOrder(
        symbol=instrument.symbol,
        side=wish.intent.side,
        type=OrderType.MARKET,
        quantity=Decimal(0),
        price=None,
        time_in_force=TimeInForce.GTC,
        post_only=False,
    )
    free = await free_for(desk, account, bare, instrument, user_id=user_id, role=role_of(wish))
    is_of_equity = wish.size is not None and wish.size.by is SizeBy.RISK_PERCENT
    equity = await _equity(desk, user_id, account, instrument) if is_of_equity else None
    market = MarketNow(price=price, free=free, equity=equity, depth=depth)
    return Setting(account=account, client=client, instrument=instrument, market=market, fees=await fee_terms(desk, user_id, account.id))


def role_of(wish: Wish) -> Role:
    """Return what the wish's order is for: a pair that sells is a way out."""
    return Role.EXIT if wish.oco is not None and wish.intent.side is Side.SELL else wish.intent.purpose


async def _price(
    desk: Desk, account: Account, client: ExchangeClient, instrument: Instrument, depth: Depth | None, *, side: Side
) -> Decimal | None:
    price = desk.quotes.reference_price(account.exchange, instrument.symbol, is_buy=side is Side.BUY)
    if price is None and depth is not None and (levels := depth.facing(side)):
        price = levels[0].price
    if price is None:
        try:
            ticker = await client.fetch_ticker(instrument.symbol)
        except RetryableError:
            return None
        price = (ticker.ask if side is Side.BUY else ticker.bid) or ticker.last
    return price


async def _equity(desk: Desk, user_id: UUID, account: Account, instrument: Instrument) -> Decimal | None:
    worth = await read_worth(desk, user_id, account.id, now=desk.clock.now())
    usdt = usdt_per(instrument.quote, desk.quotes, account.exchange)
    return None if worth is None or not usdt else _DOWN.divide(worth, usdt)


def exact_intent(wish: Wish, setting: Setting) -> OrderIntent:
    """Return the order that the wish means on the account; a wish without a size comes back without one.

    Raises:
        OrderDenied: the size needs something that is not known.
    """
    if wish.size is None:
        return wish.intent
    return sized_intent(wish.intent, wish.size, setting.instrument, setting.market, setting.fees)


def exact_pair(wish: Wish, setting: Setting) -> OcoIntent:
    """Return the pair that the wish means on the account.

    Raises:
        OrderDenied: the size is missing, needs something that is not known, or means nothing for a pair.
    """
    prices = wish.oco
    assert prices is not None  # noqa: S101  # that is what makes it a pair
    if wish.size is not None and wish.size.by in _RISKS:
        raise OrderDenied(DenialReason.QUANTITY_INVALID, "a size by risk needs a position's stop; a pair has none", field="risk")
    # Whichever half trades must be paid for, and the one that brings in least must not sell more than was asked.
    dearest = max(prices.price, prices.trigger_price, prices.stop_limit_price or Decimal(0))
    at = dearest if wish.intent.side is Side.BUY else prices.price
    asked = asked_quantity(exact_intent(wish, setting), price=at, reference_price=setting.market.price, free=setting.market.free)
    return OcoIntent(
        symbol=setting.instrument.symbol,
        side=wish.intent.side,
        source=wish.intent.source,
        key=wish.intent.key,
        quantity=setting.instrument.floor_quantity(asked),
        price=prices.price,
        trigger_price=prices.trigger_price,
        stop_limit_price=prices.stop_limit_price,
    )


async def place_wish(desk: Desk, user_id: UUID, wish: Wish, *, broker_id: UUID | None, books: Books | None = None) -> Placed:
    """Make the wish exact, send it, and return what became of it. The same key again returns what it made, and sends nothing.

    Raises:
        OrderDenied: a rule forbids it; nothing was stored or sent.
        BrokerNotFound: no such account of this user.
        ExchangeUnavailable: the exchange cannot be reached; nothing was stored or sent.
        BadCredentials: the exchange refuses the account's key, which is paused for it.
        Fenced: this process lost the engine role; the intent is stored and its new owner sends it.
    """
    if wish.oco is None and (wish.size is None or wish.size.by not in _RISKS):
        made = await submit(desk, user_id, _plainly_sized(wish), broker_id=broker_id)
        return Placed(orders=(made.order,), is_new=made.is_new)
    # What these mean depends on the market: a repetition must find its orders even if the market forbids the wish now.
    account = await find_account(desk, user_id, broker_id)
    legs = (0,) if wish.oco is None else (0, 1)
    earlier = [await existing(desk, account.id, replace(wish.intent, leg=leg)) for leg in legs]
    if found := tuple(order for order in earlier if order is not None):
        return Placed(orders=found, is_new=False)
    setting = await setting_of(desk, user_id, wish, broker_id=account.id, books=books)
    if wish.oco is not None:
        return Placed(orders=await submit_oco(desk, user_id, exact_pair(wish, setting), broker_id=account.id), is_new=True)
    made = await submit(desk, user_id, exact_intent(wish, setting), broker_id=account.id)
    return Placed(orders=(made.order,), is_new=made.is_new)


def asks_for(wish: Wish, order: OrderRecord, instrument: Instrument) -> bool:
    """Return whether `order` (of a pair its limit) is what `wish` asks for, as far as can be told without the market of then."""
    intent, side = wish.intent, wish.intent.side
    is_kind = order.type is intent.type if wish.oco is None else order.group_id is not None
    limit, trigger = (intent.price, intent.trigger_price) if wish.oco is None else (wish.oco.price, None)
    return (
        (order.symbol, order.side) == (instrument.symbol, side)
        and is_kind
        and (limit is None or order.price == instrument.round_price(side, limit))
        and (trigger is None or order.trigger_price == instrument.round_price(side, trigger))
        and _is_size(wish.size, order, instrument, at=order.price or order.trigger_price)
        and _is_plan(intent.protection, order, instrument)
    )


def _is_size(asked: Size | None, order: OrderRecord, instrument: Instrument, *, at: Decimal | None) -> bool:
    """Shares and risks depend on what there was then; an amount that trades at the market depends on its price, unless it is spent."""
    if asked is None or asked.by in (SizeBy.PERCENT, *_RISKS):
        return True
    if asked.by is SizeBy.QUANTITY:
        return order.notional is None and order.quantity == instrument.floor_quantity(asked.value)
    if order.notional is not None:
        return order.notional == asked.value.quantize(order.notional, ROUND_FLOOR)
    is_pair = order.group_id is not None
    return at is None or is_pair or order.quantity == instrument.floor_quantity(_DOWN.divide(asked.value, at))


def _is_plan(asked: ProtectionPlan | None, order: OrderRecord, instrument: Instrument) -> bool:
    if asked is None or order.protection is None:
        return (asked is None or asked.is_empty) and order.protection is None
    try:
        fitted = fitted_plan(asked, instrument, side=order.side, entry_price=None, quantity=order.quantity)
    except OrderDenied:
        return False
    return dump_plan(fitted) == order.protection


def _plainly_sized(wish: Wish) -> OrderIntent:
    if wish.size is None:
        return wish.intent
    name = {SizeBy.QUANTITY: "quantity", SizeBy.AMOUNT: "notional", SizeBy.PERCENT: "percent"}[wish.size.by]
    sizes = {"quantity": None, "notional": None, "percent": None, name: wish.size.value}
    return replace(wish.intent, **sizes)  # type: ignore[arg-type]  # names of three fields of one type
