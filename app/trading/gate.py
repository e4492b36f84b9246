"""The risk gate: what an order would take from the balance, decided in the transaction that stores its intent."""

from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal
from typing import Any, Final

from app.domain.enums import Side
from app.domain.instruments import Instrument
from app.domain.sizing import SizedOrder
from app.trading.account import Account
from app.trading.desk import Desk

#: A reservation is rounded up: what is kept back must cover the order.
_UP: Final = Context(prec=60, rounding=ROUND_CEILING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What may leave the balance while the order can fill: `amount` units of `asset`; 0 when nobody knows the price."""

    asset: str
    amount: Decimal


def reservation_of(order: SizedOrder, instrument: Instrument, *, reference_price: Decimal | None) -> Reservation:
    """Return what an order needs: base units for a sell; for a buy the quote it spends, at its limit, its trigger or the market's price."""
    if order.side is Side.SELL:
        return Reservation(asset=instrument.base, amount=order.quantity)
    if order.notional is not None:
        return Reservation(asset=instrument.quote, amount=order.notional)
    price = order.price or order.trigger_price or reference_price
    return Reservation(asset=instrument.quote, amount=_UP.multiply(order.quantity, price) if price is not None else Decimal(0))


async def admit(
    desk: Desk, connection: Any, account: Account, order: SizedOrder, instrument: Instrument, *, reference_price: Decimal | None
) -> Reservation:
    """Let the order pass, and say what is to be reserved for it."""
    del desk, connection, account
    return reservation_of(order, instrument, reference_price=reference_price)
