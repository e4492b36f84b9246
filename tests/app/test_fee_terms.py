"""What an account's fills are taken to cost."""

from decimal import Decimal

import pytest

from app.domain.ticket import USUAL_FEES, FeeSource
from app.trading.fees import fee_terms
from tests.app.conftest import Pieces

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize(
    ("liquidity", "fee", "maker", "taker"),
    [
        ("maker", "0", "0", "0.001"),
        ("maker", "0.00002", "0.002", "0.002"),
        ("taker", "0.000004", "0.0004", "0.0004"),
    ],
)
async def test_a_free_limit_order_does_not_make_stops_free(pieces: Pieces, liquidity: str, fee: str, maker: str, taker: str) -> None:
    """The fee of 0.01 BTC bought; what a size by risk loses at its stop must count what a taker pays."""
    await pieces.filled()
    await pieces.rows("UPDATE fills SET liquidity = $1, fee = $2, fee_asset = 'BTC'", liquidity, Decimal(fee))
    terms = await fee_terms(pieces.desk, pieces.user_id, pieces.broker_id)
    assert (terms.rates.maker, terms.rates.taker, terms.source) == (Decimal(maker), Decimal(taker), FeeSource.FILLS)


async def test_an_account_without_fills_pays_the_usual(pieces: Pieces) -> None:
    assert await fee_terms(pieces.desk, pieces.user_id, pieces.broker_id) == USUAL_FEES
