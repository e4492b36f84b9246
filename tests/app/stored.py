"""An intent that is committed and not sent: what a process leaves that dies right after W1."""

from decimal import Decimal
from typing import Any

from app.domain.enums import Side
from app.trading.account import find_account
from app.trading.place import Market, store
from app.trading.records import OrderRecord
from app.trading.submit import find_instrument
from tests.app.conftest import SYMBOL, Pieces

PRICE = Decimal(60000)


async def stored(pieces: Pieces, *, side: Side = Side.BUY, quantity: str = "0.01", **fields: Any) -> OrderRecord:
    """Store an intent of the user's account, a market order unless the fields say otherwise."""
    account = await find_account(pieces.desk, pieces.user_id, pieces.broker_id)
    instrument = await find_instrument(pieces.desk, account.exchange, SYMBOL)
    client = await pieces.connections.client(pieces.broker_id)
    order = await store(
        pieces.desk,
        pieces.user_id,
        account,
        pieces.intent(side, quantity, **fields),
        instrument=instrument,
        capabilities=client.capabilities,
        market=Market(price=PRICE),
        delivery_id=None,
    )
    assert order is not None
    return order
