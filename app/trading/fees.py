"""What an account's fills cost, as far as that is known without asking its exchange."""

from decimal import ROUND_CEILING, Context, Decimal
from typing import Final
from uuid import UUID

from app.domain.enums import Liquidity, Side
from app.domain.fees import FeeRates, received_amount
from app.domain.ticket import USUAL_FEES, FeeSource, FeeTerms
from app.trading.desk import Desk

_PAPER: Final = "SELECT maker_fee, taker_fee FROM paper_accounts WHERE broker_id = $1 AND user_id = $2"
#: Of the user's last fills those of the account, so that no long history is walked through for an account without any.
_FILLS: Final = """
SELECT liquidity, side, price, quantity, fee, split_part(symbol, '/', CASE WHEN side = 'buy' THEN 1 ELSE 2 END) = fee_asset AS is_received
  FROM (SELECT * FROM fills WHERE user_id = $1 ORDER BY executed_at DESC LIMIT 200) last WHERE broker_id = $2
 ORDER BY executed_at DESC
"""
_UP: Final = Context(prec=40, rounding=ROUND_CEILING)
#: A fee is booked in eight decimals, so a small fill's rate is a little off.
_RATE_QUANTUM: Final = Decimal("0.000001")


async def fee_terms(desk: Desk, user_id: UUID, broker_id: UUID) -> FeeTerms:
    """Return what fills of the account cost: its own terms on paper, else what its last fills paid, else the usual rate.

    A fill whose fee was paid in a third asset says nothing of a rate. Where only what takers paid is known, that stands for both; where
    only what makers paid is, takers are taken to pay the usual rate at least: a maker's fee is often nothing, and no stop sells as a maker.
    """
    async with desk.database.connection() as connection:
        paper = await connection.fetchrow(_PAPER, broker_id, user_id)
        rows = [] if paper is not None else await connection.fetch(_FILLS, user_id, broker_id)
    if paper is not None:
        return FeeTerms(rates=FeeRates(maker=paper["maker_fee"], taker=paper["taker_fee"]), source=FeeSource.ACCOUNT)
    known: dict[str, Decimal] = {}
    for row in rows:
        received = received_amount(Side(row["side"]), row["quantity"], row["price"])
        if row["is_received"] and received > 0:
            known.setdefault(row["liquidity"], _UP.divide(row["fee"], received).quantize(_RATE_QUANTUM, context=_UP))
    if not known:
        return USUAL_FEES
    maker, taker = known.get(Liquidity.MAKER.value), known.get(Liquidity.TAKER.value)
    if taker is None:
        taker = max(maker or Decimal(0), USUAL_FEES.rates.taker)
    return FeeTerms(rates=FeeRates(maker=taker if maker is None else maker, taker=taker), source=FeeSource.FILLS)
