"""What an order would be and whether it would pass, asked without storing or sending anything: the same rules in the same order."""

from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import ROUND_FLOOR, Context, Decimal
from functools import partial
from typing import Final
from uuid import UUID

from app.domain.enums import Execution, OrderType
from app.domain.instruments import Instrument
from app.domain.intents import OrderIntent
from app.domain.sizing import SizedOrder, size
from app.domain.ticket import Figures, figures, worst_exit
from app.errors import AppError, OrderDenied, RetryableError
from app.exchanges.capabilities import Capabilities
from app.trading.balances import read_again, with_fresh_balance
from app.trading.bracket import Bracket, foretell
from app.trading.desk import Desk
from app.trading.gate import foresee
from app.trading.oco import check_sides
from app.trading.place import Market, shaped
from app.trading.wish import Books, Setting, Wish, exact_intent, exact_pair, role_of, setting_of

#: So long a balance that denies an order is believed: a preview is asked with every key that is pressed, an order once.
_BALANCE_MAX_AGE: Final = timedelta(seconds=10)
_DOWN: Final = Context(prec=60, rounding=ROUND_FLOOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a wish would be on one account.

    `order` is the exact order (of a pair its limit), None while it is denied before it can be said; `stop` the other half of a pair.
    `figures` are computed of the wish even where it is denied, None where something is missing. `denial` says why it would not be sent,
    with its code and field.
    """

    setting: Setting
    order: SizedOrder | None
    stop: SizedOrder | None
    execution: Execution | None
    figures: Figures | None
    bracket: Bracket | None
    worst_exit: Decimal | None
    denial: AppError | None

    @property
    def instrument(self) -> Instrument:
        """The rules of the exchange."""
        return self.setting.instrument

    @property
    def capabilities(self) -> Capabilities:
        """What the exchange can do."""
        return self.setting.client.capabilities


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exact:
    """Orders as they would be sent, or why not."""

    orders: tuple[SizedOrder, ...] = ()
    execution: Execution | None = None
    intent: OrderIntent | None = None
    denial: OrderDenied | None = None


async def preview(desk: Desk, user_id: UUID, wish: Wish, *, broker_id: UUID | None, books: Books | None = None) -> Preview:
    """Return what the wish would be and whether it would pass; nothing is stored, counted or sent.

    The exchange is asked only for what no order could do without and nobody here knows: a price, or a balance that is unknown or denies
    the order and was read more than ten seconds ago.

    Raises:
        OrderDenied: the account, the symbol or this server takes no orders at all.
        BrokerNotFound: no such account of this user.
        ExchangeUnavailable: the exchange's rules cannot be read.
        BadCredentials: the account's keys cannot be used.
    """
    setting = await setting_of(desk, user_id, wish, broker_id=broker_id, books=books)
    if setting.market.free is None:
        setting = await _with_balance(desk, user_id, wish, setting, books)
    sized, denial = _sized(wish, setting)
    exact = _Exact(denial=denial) if denial is not None else _exact(wish, setting)
    if exact.denial is None:
        exact = await _judged(desk, user_id, wish, setting, exact)
    found = figures(sized, setting.instrument, setting.market, setting.fees)
    bracket = None
    if exact.intent is not None and exact.intent.protection is not None and found is not None:
        kept = setting.instrument.floor_quantity(_DOWN.multiply(found.quantity, 1 - found.fee.rate))
        bracket = foretell(
            exact.intent.protection,
            setting.instrument,
            setting.client.capabilities,
            exchange=setting.account.exchange,
            quantity=kept,
            price=found.price,
        )
    return Preview(
        setting=setting,
        order=exact.orders[0] if exact.orders else None,
        stop=exact.orders[1] if len(exact.orders) > 1 else None,
        execution=exact.execution,
        figures=found,
        bracket=bracket,
        worst_exit=None if found is None else worst_exit(sized.protection, found.price),
        denial=exact.denial,
    )


async def _with_balance(desk: Desk, user_id: UUID, wish: Wish, setting: Setting, books: Books | None) -> Setting:
    """The same with the balance of an account that has told none yet; without it where the exchange does not tell."""
    account = setting.account
    try:
        await read_again(desk, setting.client, broker_id=account.id, user_id=user_id, since=desk.clock.now())
    except RetryableError:
        return setting
    return await setting_of(desk, user_id, wish, broker_id=account.id, books=books)


def _sized(wish: Wish, setting: Setting) -> tuple[OrderIntent, OrderDenied | None]:
    """The wish with its size; as it is with the reason where that cannot be computed."""
    try:
        if wish.oco is None:
            return exact_intent(wish, setting), None
        pair = exact_pair(wish, setting)
        return replace(wish.intent, type=OrderType.LIMIT, price=pair.price, quantity=pair.quantity, notional=None, percent=None), None
    except OrderDenied as denial:
        return wish.intent, denial


def _exact(wish: Wish, setting: Setting) -> _Exact:
    """Size and fit it as `trading.place` and `trading.oco` do."""
    instrument, capabilities, market = setting.instrument, setting.client.capabilities, setting.market
    try:
        if wish.oco is None:
            intent, fitted = shaped(exact_intent(wish, setting), instrument, capabilities, Market(price=market.price, free=market.free))
            return _Exact(orders=(fitted.order,), execution=fitted.execution, intent=intent)
        limit, stop = (size(leg, instrument, reference_price=market.price) for leg in exact_pair(wish, setting).legs())
        if market.price is not None:
            check_sides(limit, instrument, market.price)
        is_native = capabilities.has_oco and capabilities.is_native(stop.type)
        return _Exact(orders=(limit, stop), execution=Execution.NATIVE if is_native else Execution.SUPERVISED)
    except OrderDenied as denial:
        return _Exact(denial=denial)


async def _judged(desk: Desk, user_id: UUID, wish: Wish, setting: Setting, exact: _Exact) -> _Exact:
    """Ask the risk gate. Of a pair the dearer half must be there."""
    dearer = max(exact.orders, key=lambda order: order.quantity * (order.price or order.trigger_price or Decimal(0)))
    attempt = partial(
        foresee,
        desk,
        setting.account,
        dearer,
        setting.instrument,
        user_id=user_id,
        role=role_of(wish),
        source=wish.intent.source,
        reference_price=setting.market.price,
    )
    last = desk.readings.last.get(setting.account.id)
    is_fresh = last is not None and desk.clock.now() - last < _BALANCE_MAX_AGE
    try:
        if is_fresh:
            await attempt()
        else:
            await with_fresh_balance(desk, setting.client, broker_id=setting.account.id, user_id=user_id, attempt=attempt)
    except OrderDenied as denial:
        return replace(exact, denial=denial)
    return exact
