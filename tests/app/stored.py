"""What the tables may hold before an order: a balance as it was told, and an intent that is committed and not sent."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from app.core.leases import LeaseHolder
from app.domain.enums import Side
from app.exchanges.port import Balance
from app.trading.account import find_account
from app.trading.balances import store_balances
from app.trading.desk import ENGINE_ROLE
from app.trading.place import Market, store
from app.trading.records import OrderRecord
from app.trading.submit import find_instrument
from tests.app.conftest import SYMBOL, Pieces

PRICE = Decimal(60000)
#: What the emulator gives every account of a test.
PLENTY = {"USDT": "1000000", "BTC": "1"}


async def told(pieces: Pieces, free: Mapping[str, str], *, age: timedelta = timedelta(0)) -> None:
    """Let the account's balance have been told: these assets and nothing else, so long ago."""
    balances = {asset: Balance(asset=asset, free=Decimal(amount), locked=Decimal(0)) for asset, amount in free.items()}
    await pieces.rows("DELETE FROM balances WHERE broker_id = $1", pieces.broker_id)
    await pieces.rows("UPDATE brokers SET last_balance_update = NULL WHERE id = $1", pieces.broker_id)
    at = pieces.desk.clock.now() - age
    await store_balances(pieces.desk, balances, broker_id=pieces.broker_id, user_id=pieces.user_id, at=at)


async def stored(pieces: Pieces, *, side: Side = Side.BUY, quantity: str = "0.01", **fields: Any) -> OrderRecord:
    """Store an intent of the user's account, a market order unless the fields say otherwise.

    As a process without the engine role does it: the order waits for whoever claims it.
    """
    if not await pieces.rows("SELECT 1 FROM brokers WHERE id = $1 AND last_balance_update IS NOT NULL", pieces.broker_id):
        await told(pieces, PLENTY)
    account = await find_account(pieces.desk, pieces.user_id, pieces.broker_id)
    instrument = await find_instrument(pieces.desk, account.exchange, SYMBOL)
    client = await pieces.connections.client(pieces.broker_id)
    order = await store(
        replace(pieces.desk, lease=LeaseHolder(pieces.database, ENGINE_ROLE)),
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
