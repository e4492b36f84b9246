"""Orders that come to the account by another way than through us: a trader's own, and ours of a database that forgot them."""

from typing import Any

from tests.app.conftest import API_SECRET, Pieces
from tests.emulator_process import SignedClient

#: An id as only this program gives, of an order that no table here knows.
ORPHAN_ID = "q0123456789abcdefg"


def signed(pieces: Pieces) -> SignedClient:
    """The account's keys in other hands."""
    return SignedClient(emulator=pieces.emulator, api_key=pieces.api_key, api_secret=API_SECRET)


def placed_elsewhere(pieces: Pieces, *, client_order_id: str = "of-my-own", **fields: str) -> Any:
    """Place an order with the account's keys, past us: a limit buy far below the market unless the fields say otherwise."""
    limit = {"side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.02", "price": "50000.00"}
    asked = {"symbol": "BTCUSDT", "newClientOrderId": client_order_id, **(fields if fields.get("type") == "MARKET" else limit | fields)}
    reply = signed(pieces).order(**asked)
    assert reply.status == 200, reply
    return reply.document


def requests_of(pieces: Pieces, method: str, path: str) -> list[Any]:
    """The account's requests of one kind, as the venue remembers them."""
    return [entry for entry in pieces.emulator.log(method, path) if entry["api_key"] == pieces.api_key]
