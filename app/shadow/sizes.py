"""Why an entry that a bot and its shadow both made had another quantity. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from app.shadow import causes
from app.shadow.causes import Cause
from app.shadow.lives import Act, Market
from app.shadow.why import is_safeguard

#: How much more than a step quantities may differ that are the same but for rounding; a fraction of them.
_ROUNDING: Final = Decimal("1e-7")
#: A size was reckoned with a price that is not the fill's: so many times as far from it as the fill is.
_REACH: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Sized:
    """A cause of another quantity, and its share in it."""

    cause: Cause
    share: Decimal
    message: str
    values: Mapping[str, str]
    code: str | None = None


def sized(ours: Act, its: Act, equity: tuple[Decimal, Decimal], market: Market, signal: tuple[Decimal | None, str | None]) -> list[Sized]:
    """Return why the bot's entry was of another quantity than the shadow's; the shares sum up to 1 where all of it is known.

    Args:
        ours: The bot's entry.
        its: The shadow's.
        equity: What both were worth before.
        market: For the step.
        signal: The price that the bot's size was reckoned with, and the code of whatever cut it; None for none.
    """
    whole = ours.quantity - its.quantity
    if not whole:
        return []
    ordered, (own, other), code = ours.quantity + ours.coins, equity, signal[1]
    grown = its.quantity * own / other if own > 0 and other > 0 else its.quantity
    paid = ours.fee / (ordered * ours.price) if ours.value else Decimal(0)
    taken = its.fee / its.value if its.value else Decimal(0)
    parts = _parts(ordered, its, grown, signal[0] or ours.price, (1 + taken) / (1 + paid), room=_room(its, market), is_cut=code is not None)
    told = {"live": _written(ordered), "shadow": _written(its.quantity)}
    found = [
        Sized(cause=Cause.FEE, share=-ours.coins / whole, message=causes.COINS, values={}),
        Sized(cause=Cause.FEE, share=parts.fee / whole, message=causes.SIZE_FEE, values=told),
        Sized(cause=Cause.FILL_PRICE, share=parts.price / whole, message=causes.SIZE_PRICE, values=told),
        Sized(
            cause=Cause.CAPITAL, share=parts.capital / whole, message=causes.SIZE_CAPITAL,
            values={"live": _written(own), "shadow": _written(other)},
        ),
    ]  # fmt: skip
    left = ordered - its.quantity - parts.capital - parts.fee - parts.price
    if left and code is not None:
        cause = Cause.SAFEGUARD if is_safeguard(code) else Cause.DENIED
        found.append(Sized(cause=cause, share=left / whole, message=causes.SIZE_DENIED, values={**told, "why": code}, code=code))
    return [one for one in found if one.share]


@dataclass(frozen=True, slots=True)
class _Parts:
    """Base units of the difference, by what they come of."""

    capital: Decimal = Decimal(0)
    fee: Decimal = Decimal(0)
    price: Decimal = Decimal(0)


def _parts(ordered: Decimal, its: Act, grown: Decimal, reckoned: Decimal, by_fee: Decimal, *, room: Decimal, is_cut: bool) -> _Parts:
    """Take the difference of two quantities apart.

    Args:
        ordered: What the bot bought.
        its: What the shadow bought.
        grown: What the shadow would have bought with the bot's money.
        reckoned: The price that the bot's size was reckoned with.
        by_fee: By what factor its fee changes a size.
        room: What rounding may make.
        is_cut: Whether something cut the order.
    """
    capital = grown - its.quantity
    if ordered == its.quantity:
        return _Parts()
    if abs(ordered * reckoned - its.quantity * its.price) <= room * max(reckoned, its.price) and reckoned != its.price:
        return _Parts(price=ordered - its.quantity)  # a size of a fixed worth
    if capital and abs(ordered - grown) <= room:
        return _Parts(capital=ordered - its.quantity)
    charged = grown * by_fee
    if by_fee != 1 and abs(ordered - charged) <= room:
        return _Parts(capital=capital, fee=ordered - grown)
    off = abs(reckoned / its.price - 1) if its.price else Decimal(0)
    fits = reckoned > 0 and abs(ordered - charged * its.price / reckoned) <= room
    if off and (fits or (not is_cut and abs(ordered / charged - 1) <= _REACH * off + room / charged)):
        return _Parts(capital=capital, fee=charged - grown, price=ordered - charged)
    return _Parts(capital=capital, fee=charged - grown)


def _room(its: Act, market: Market) -> Decimal:
    return market.step * Decimal("1.5") + its.quantity * _ROUNDING


def _written(value: Decimal) -> str:
    return f"{value:.8f}".rstrip("0").rstrip(".")
