"""What venues say of a key, made up after their documentation: whether it may trade, whether it may withdraw, from where it works."""

from typing import Any

import pytest

from app.errors import ExchangeUnavailable, Unsupported
from app.exchanges.key_rights import KeyRights
from tests.exchanges.wire.clients import VENUES, make_client
from tests.exchanges.wire.session import Answer, RecordingSession

_BYBIT = "GET /v5/user/query-api"
_KUCOIN = "GET /api/v1/user/api-key"
_OKX = "GET /api/v5/account/config"
_COINBASE = "GET /api/v3/brokerage/key_permissions"
_BINANCE = "GET /sapi/v1/account/apiRestrictions"


def _bybit(read_only: int, wallet: list[str], addresses: list[str]) -> dict[str, Any]:
    permissions = {"ContractTrade": [], "Spot": ["SpotTrade"], "Wallet": wallet, "Exchange": []}
    return {"retCode": 0, "retMsg": "", "result": {"readOnly": read_only, "permissions": permissions, "ips": addresses}}


def _okx(rights: str, addresses: str) -> dict[str, Any]:
    return {"code": "0", "msg": "", "data": [{"uid": "1", "perm": rights, "ip": addresses}]}


def _kucoin(rights: str, addresses: str) -> dict[str, Any]:
    return {"code": "200000", "data": {"apiKey": "k", "permission": rights, "ipWhitelist": addresses, "isMaster": True}}


def _rights(*flags: bool | None) -> KeyRights:
    trade, withdraw, bound = flags
    return KeyRights(can_trade=trade, can_withdraw=withdraw, is_ip_bound=bound)


CASES = [
    (
        "binance",
        _BINANCE,
        {"ipRestrict": True, "enableReading": True, "enableSpotAndMarginTrading": True, "enableWithdrawals": False},
        _rights(True, False, True),  # in the order of the fields
    ),
    (
        "binance",
        _BINANCE,
        {"ipRestrict": False, "enableSpotAndMarginTrading": False, "enableWithdrawals": True},
        _rights(False, True, False),  # as above
    ),
    ("okx", _OKX, _okx("read_only,trade", "203.0.113.7"), _rights(True, False, True)),  # as above
    ("okx", _OKX, _okx("read_only,withdraw,trade", ""), _rights(True, True, False)),  # as above
    ("bybit", _BYBIT, _bybit(0, ["AccountTransfer"], ["203.0.113.7"]), _rights(True, False, True)),  # as above
    ("bybit", _BYBIT, _bybit(1, ["AccountTransfer", "Withdraw"], ["*"]), _rights(False, True, False)),  # as above
    ("kucoin", _KUCOIN, _kucoin("General,Spot", "203.0.113.7"), _rights(True, False, True)),  # as above
    ("kucoin", _KUCOIN, _kucoin("General,Spot,Withdrawal", ""), _rights(True, True, False)),  # as above
    (
        "coinbase",
        _COINBASE,
        {"can_view": True, "can_trade": True, "can_transfer": False},
        _rights(True, False, None),  # as above
    ),
]


@pytest.mark.asyncio
@pytest.mark.parametrize(("venue", "name", "body", "expected"), CASES)
async def test_what_a_venue_says_of_a_key_is_read(venue: str, name: str, body: Any, expected: KeyRights) -> None:
    client = make_client(venue, RecordingSession({name: [Answer(body=body)]}))
    assert await client.fetch_key_rights() == expected


@pytest.mark.asyncio
@pytest.mark.parametrize("venue", sorted(set(VENUES) - {venue for venue, *_ in CASES}))
async def test_of_a_venue_without_such_a_question_nothing_is_asked(venue: str) -> None:
    session = RecordingSession()
    with pytest.raises(Unsupported):
        await make_client(venue, session).fetch_key_rights()
    assert session.sent == []


@pytest.mark.asyncio
async def test_binances_test_network_has_no_such_question() -> None:
    session = RecordingSession()
    with pytest.raises(Unsupported):
        await make_client("binance", session, is_testnet=True).fetch_key_rights()
    assert session.sent == []


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("venue", "name", "body"), [("okx", _OKX, {"code": "0", "data": []}), ("bybit", _BYBIT, {"retCode": 0, "result": {}})]
)
async def test_an_answer_of_another_shape_says_nothing_rather_than_something_wrong(venue: str, name: str, body: Any) -> None:
    client = make_client(venue, RecordingSession({name: [Answer(body=body)]}))
    with pytest.raises(ExchangeUnavailable):
        await client.fetch_key_rights()
