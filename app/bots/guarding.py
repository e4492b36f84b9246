"""What the safeguards of a bot leave of what its strategy wants: entries and additions are denied or cut, all else passes."""

from dataclasses import replace
from decimal import Decimal

from app.bots import words
from app.bots.log import said
from app.bots.meaning import Meaning
from app.bots.safeguards import SAFEGUARD, Look
from app.bots.standing import Standing
from app.domain.enums import Role, Side
from app.domain.instruments import plain


def guarded(meaning: Meaning, look: Look, standing: Standing, *, close: Decimal) -> Meaning:
    """Return what is to be done when the safeguards have looked at it.

    Args:
        meaning: What the strategy wants.
        look: What the safeguards say of the bot at this close.
        standing: How the bot stands.
        close: The candle's close, what counts where the market's price is not known.
    """
    intent = meaning.intent
    if intent is None or intent.role is not Role.ENTRY or intent.side is not Side.BUY or intent.quantity is None:
        return meaning
    refused = look.refusal(is_addition=not standing.is_flat)
    if refused is not None:
        return replace(meaning, intent=None, told=refused, code=SAFEGUARD)
    market = standing.price or close
    price = market if intent.price is None else min(market, intent.price)
    room, told = look.cut(intent.quantity, price, held=max(standing.ledger.quantity, Decimal(0)))
    if told is None:
        return meaning
    quantity = standing.instrument.floor_quantity(room)
    if quantity <= 0 or quantity * price < (standing.instrument.min_notional or 0):
        small = said(words.TOO_SMALL, quantity=plain(quantity), base=standing.instrument.base)
        return replace(meaning, intent=None, told=small, code="NOTIONAL_BELOW_MINIMUM")
    return replace(meaning, intent=replace(intent, quantity=quantity), told=told)
