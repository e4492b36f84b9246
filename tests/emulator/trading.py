"""Short words for what tests of the emulator's trading ask again and again."""

from decimal import Decimal
from typing import Any

from tests.emulator_process import SignedClient

D = Decimal
SELL: dict[str, str | int] = {"symbol": "BTCUSDT", "side": "SELL", "quantity": "0.1"}
BUY: dict[str, str | int] = {"symbol": "BTCUSDT", "side": "BUY", "quantity": "0.1"}


def found(client: SignedClient, order: dict[str, Any]) -> dict[str, Any]:
    """Ask for an order of which the id is known."""
    document: dict[str, Any] = client.call("GET", "/api/v3/order", {"symbol": "BTCUSDT", "orderId": order["orderId"]}).document
    return document


def balance(client: SignedClient, asset: str) -> tuple[Decimal, Decimal]:
    """Return what is free and what is locked of an asset."""
    (entry,) = (each for each in client.call("GET", "/api/v3/account").document["balances"] if each["asset"] == asset)
    return D(entry["free"]), D(entry["locked"])


def statuses(client: SignedClient, placed: dict[str, Any]) -> list[str]:
    """Return how the orders of a list stand, in their order."""
    return [found(client, order)["status"] for order in placed["orders"]]
