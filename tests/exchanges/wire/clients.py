"""Our clients over ccxt's own classes, with a market that was made up here and a session that records."""

import ssl
from functools import cache
from typing import Any, Final

import ccxt.async_support
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from app.core.clock import SystemClock
from app.exchanges.ccxt_client import CcxtClient
from app.exchanges.gate import VenueGate
from app.exchanges.markets import MarketsSource
from app.exchanges.port import Credentials
from app.exchanges.venue_setup import VenueAddress, make_exchange
from tests.exchanges.wire.session import RecordingSession

VENUES: Final = ("binance", "binanceus", "kraken", "coinbase", "kucoin", "bitget", "okx", "bybit", "gate", "mexc")
SYMBOL: Final = "BTC/USDT"
NOW_MS: Final = 1_767_225_600_000
_IDS: Final = {
    "kraken": "XBTUSDT", "coinbase": "BTC-USDT", "kucoin": "BTC-USDT", "okx": "BTC-USDT", "gate": "BTC_USDT",
}  # fmt: skip
_BINANCE_TYPES: Final = ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"]


def market(exchange: str) -> dict[str, Any]:
    """Return a spot market as ccxt describes it, with exact text for numbers as our clients have it."""
    return {
        "id": _IDS.get(exchange, "BTCUSDT"), "symbol": SYMBOL, "base": "BTC", "quote": "USDT", "baseId": "BTC", "quoteId": "USDT",
        "type": "spot", "spot": True, "margin": False, "swap": False, "future": False, "contract": False, "active": True,
        "linear": None, "inverse": None, "settle": None, "settleId": None, "contractSize": None, "option": False, "index": False,
        "taker": "0.001", "maker": "0.001", "precision": {"amount": "0.00000001", "price": "0.00000001", "cost": "0.00000001"},
        "limits": {"amount": {"min": "0.00000001", "max": None}, "price": {"min": None, "max": None}, "cost": {"min": "5", "max": None}},
        "info": {"orderTypes": _BINANCE_TYPES, "quoteIncrement": "0.00000001"},
    }  # fmt: skip


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


@cache
def _elliptic_key() -> str:
    """Coinbase signs with a key of this kind; a new one for each run."""
    key = ec.generate_private_key(ec.SECP256R1())
    kind, none = serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, kind, none).decode()


def credentials(exchange: str) -> Credentials:
    """Return keys of the right shape that open nothing."""
    if exchange == "coinbase":
        return Credentials(api_key="organizations/none/apiKeys/none", api_secret=_elliptic_key())
    return Credentials(api_key="not-a-key", api_secret="bm90LWEtc2VjcmV0", api_password="not-a-password")


def make_client(exchange: str, session: RecordingSession, *, is_testnet: bool = False) -> CcxtClient:
    """Return a client of `exchange` whose requests end in `session`, at a standing clock."""
    address = VenueAddress(exchange=exchange, is_testnet=is_testnet)
    made = make_exchange(ccxt.async_support, address, credentials=credentials(exchange), session=session, tls=_tls())  # type: ignore[arg-type]  # it stands in for an aiohttp session
    gate = VenueGate(exchange, (), clock=SystemClock())
    made.venue_gate, made.account_key = gate, "an-account"
    made.milliseconds = lambda: NOW_MS
    made.seconds = lambda: NOW_MS // 1000
    made.set_markets([market(exchange)])
    source = MarketsSource(exchange, lambda: made, gate)
    source.shared, source.generation = made, 1
    return CcxtClient(made, source, clock=SystemClock())
