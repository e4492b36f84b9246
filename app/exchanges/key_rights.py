"""What a venue says of a key: whether it may trade, whether it may withdraw, and whether it works from certain addresses only.

Only documented answers are read; where a venue has no such question, or answers it otherwise, nothing is said rather than guessed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRights:
    """What a key may do; None where the venue does not say."""

    can_trade: bool | None = None
    can_withdraw: bool | None = None
    is_ip_bound: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RightsQuestion:
    """How a venue is asked: ccxt's method, and how its answer is read."""

    method: str
    read: Callable[[Any], KeyRights]


def _flag(raw: Mapping[str, Any], name: str) -> bool | None:
    value = raw.get(name)
    return value if isinstance(value, bool) else None


def _binance(reply: Any) -> KeyRights:
    return KeyRights(
        can_trade=_flag(reply, "enableSpotAndMarginTrading"),
        can_withdraw=_flag(reply, "enableWithdrawals"),
        is_ip_bound=_flag(reply, "ipRestrict"),
    )


def _okx(reply: Any) -> KeyRights:
    (account,) = reply["data"]
    rights = {word.strip() for word in account["perm"].split(",")}
    return KeyRights(can_trade="trade" in rights, can_withdraw="withdraw" in rights, is_ip_bound=bool(account["ip"].strip()))


def _bybit(reply: Any) -> KeyRights:
    key = reply["result"]
    rights, addresses = key["permissions"], key["ips"]
    return KeyRights(
        can_trade=int(key["readOnly"]) == 0 and "SpotTrade" in rights["Spot"],
        can_withdraw="Withdraw" in rights["Wallet"],
        is_ip_bound=bool(addresses) and "*" not in addresses,
    )


def _kucoin(reply: Any) -> KeyRights:
    key = reply["data"]
    rights = {word.strip().lower() for word in key["permission"].split(",")}
    return KeyRights(
        can_trade=bool(rights & {"spot", "trade"}),
        can_withdraw=bool(rights & {"withdrawal", "withdraw"}),
        is_ip_bound=bool((key.get("ipWhitelist") or "").strip()),
    )


def _coinbase(reply: Any) -> KeyRights:
    return KeyRights(can_trade=_flag(reply, "can_trade"), can_withdraw=_flag(reply, "can_transfer"))


_QUESTIONS: Final[dict[str, RightsQuestion]] = {
    # developers.binance.com wallet/account/api-key-permission. The test network has no such address: ccxt refuses to ask there.
    "binance": RightsQuestion(method="sapi_get_account_apirestrictions", read=_binance),
    # docs-v5 "Get account configuration": perm, ip.
    "okx": RightsQuestion(method="private_get_account_config", read=_okx),
    # bybit-exchange.github.io docs/v5/user/apikey-info; ips is ["*"] where any address will do.
    "bybit": RightsQuestion(method="private_get_v5_user_query_api", read=_bybit),
    # kucoin.com docs account-info/account-funding/get-apikey-info.
    "kucoin": RightsQuestion(method="private_get_user_api_key", read=_kucoin),
    # docs.cdp.coinbase.com advanced-trade data-api/get-api-key-permissions; a transfer may leave the account.
    "coinbase": RightsQuestion(method="v3_private_get_brokerage_key_permissions", read=_coinbase),
}


def question_of(exchange: str) -> RightsQuestion | None:
    """Return how `exchange` is asked; None where it has no such question that we know."""
    return _QUESTIONS.get(exchange)
