from typing import Any

import pytest

from app.domain.enums import OrderType
from app.webhooks.alert import Action, Size, SizeKind
from tests.webhooks.readings import alert_of, base, equity, free, of_position, offset, price, quote, refused

COMMAS = {"message_type": "bot", "bot_id": 1, "email_token": "hush", "delay_seconds": 0}
SIGNAL = {"secret": "hush", "max_lag": "300", "timestamp": "2025-06-22T20:19:01Z", "trigger_price": "98411.21", "bot_uuid": "x"}
POST = {"ticker": "BTCUSDT", "action": "buy"}
OKX = {"signalToken": "hush", "instrument": "BTC-USDT", "timestamp": "2025-06-22T20:19:01Z", "maxLag": "60"}
WUNDER = "_BINANCE_BTCUSDT_My bot_1M_000000000000000000000001"


@pytest.mark.parametrize(
    ("action", "expected", "size"),
    [
        (None, Action.BUY, None),
        ("start_bot_and_start_deal", Action.BUY, None),
        ("close_at_market_price", Action.CLOSE, None),
        ("close_at_market_price_all", Action.CLOSE, None),
        ("cancel", Action.CANCEL, None),
        ("stop_bot", Action.NONE, None),
        ("add_funds_in_quote", Action.BUY, quote("15")),
        ("add_funds_in_base", Action.BUY, base("15")),
    ],
)
def test_3commas_dca_bot_is_read(action: str | None, expected: Action, size: Size | None) -> None:
    members = COMMAS | {"pair": "USDT_BTC"} | ({} if action is None else {"action": action}) | ({} if size is None else {"volume": 15})
    alert = alert_of(members)
    assert (alert.action, alert.symbol, alert.size, alert.dialect) == (expected, "BTC/USDT", size, "3commas")


def test_3commas_unknown_actions_and_long_delays_are_refused() -> None:
    assert refused(COMMAS | {"action": "start_trailing"}).code == "SIDE_UNKNOWN"
    assert refused(COMMAS | {"delay_seconds": 120}).code == "DELAY_UNSUPPORTED"
    assert alert_of(COMMAS).symbol is None, "the bot's pair is not known here; the webhook's symbol stands in"


@pytest.mark.parametrize(
    ("order", "size"),
    [
        ({"amount": "0.05", "currency_type": "base"}, base("0.05")),
        ({"amount": "100", "currency_type": "quote"}, quote("100")),
        ({"amount": "50", "currency_type": "quote_percent"}, free("0.5")),
        ({}, None),
    ],
)
def test_3commas_signal_bot_counts_its_amount(order: dict[str, str], size: Size | None) -> None:
    alert = alert_of(SIGNAL | {"tv_exchange": "BINANCE", "tv_instrument": "BTCUSDT", "action": "enter_long", "order": order})
    assert (alert.action, alert.symbol, alert.exchange, alert.size, alert.max_age_s) == (Action.BUY, "BTCUSDT", "BINANCE", size, 300)
    assert alert.at is not None


def test_3commas_signal_bot_closes_a_part_and_refuses_shares_of_a_bot() -> None:
    body = SIGNAL | {"tv_instrument": "BTCUSDT", "action": "exit_long", "order": {"amount": "50", "currency_type": "position_percent"}}
    assert alert_of(body).size == of_position("0.5")
    assert refused(body | {"order": {"amount": "50", "currency_type": "margin_percent"}}).code == "SIZE_UNSUPPORTED"


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        ("fixed_quantity", base("10")),
        ("dollar_amount", quote("10")),
        ("percent_of_equity", equity("0.1")),
        ("percent_of_position", of_position("0.1")),
    ],
)
def test_traderspost_quantity_types_are_read(kind: str, size: Size) -> None:
    assert alert_of(POST | {"quantityType": kind, "quantity": 10}).size == size


def test_traderspost_risk_needs_no_conversion_but_dollars_of_risk_do() -> None:
    alert = alert_of(POST | {"quantityType": "risk_percent", "quantity": 1, "stopLoss": {"stopPrice": 59000}})
    assert (alert.size, alert.stop) == (Size(kind=SizeKind.RISK, value=free("0.01").value), price("59000"))
    assert refused(POST | {"quantityType": "risk_dollar_amount", "quantity": 100}).code == "SIZE_UNSUPPORTED"


def test_traderspost_orders_and_exits_are_read() -> None:
    limit = alert_of(
        POST | {"orderType": "limit", "limitPrice": 60000, "takeProfit": {"limitPrice": 66000}, "stopLoss": {"type": "stop", "percent": 2}}
    )
    assert (limit.type, limit.price, limit.stop, limit.targets[0].level) == (
        OrderType.LIMIT,
        price("60000"),
        offset("-0.02"),
        price("66000"),
    )
    assert alert_of(POST | {"orderType": "limit", "signalPrice": 60000}).price == price("60000")
    trailing = alert_of(POST | {"stopLoss": {"type": "trailing_stop", "trailPercent": 5}})
    assert trailing.trailing_delta == free("0.05").value
    assert alert_of({"ticker": "BTCUSDT", "action": "exit", "sentiment": "flat"}).action is Action.CLOSE
    assert alert_of({"ticker": "BTCUSDT", "action": "exit", "quantityType": "percent_of_position", "quantity": 50}).size == of_position(
        "0.5"
    )
    assert alert_of({"ticker": "BTCUSDT", "action": "cancel"}).action is Action.CANCEL
    assert alert_of({"ticker": "BTCUSDT", "action": "breakeven", "sentiment": "long"}).stop == offset("0")


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"orderType": "stop", "stopPrice": 1}, "TYPE_UNKNOWN"),
        ({"orderType": "limit"}, "PRICE_MISSING"),
        ({"stopLoss": {"amount": 10}}, "FIELD_UNSUPPORTED"),
        ({"takeProfit": {"amount": 10}}, "FIELD_UNSUPPORTED"),
        ({"stopLoss": {"type": "mental", "percent": 1}}, "PROTECTION_INVALID"),
        ({"stopLoss": {"percent": 1, "stopPrice": 2}}, "PROTECTION_INVALID"),
    ],
)
def test_traderspost_messages_that_mean_something_else_are_refused(members: dict[str, Any], code: str) -> None:
    assert refused(POST | members).code == code


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("ENTER-LONG", Action.BUY),
        ("Exit-Long", Action.CLOSE),
        ("EXIT-ALL", Action.CLOSE),
        ("ENTER-SHORT", Action.NONE),
        ("EXIT-SHORT", Action.NONE),
    ],
)
def test_wundertrading_codes_are_read_alone_and_in_json(code: str, expected: Action) -> None:
    for body in (code + WUNDER, {"code": code + WUNDER, "orderType": "market"}, {"code": code + "_Binance_BTCUSDT_a_b_c_15M_***"}):
        alert = alert_of(body)
        assert (alert.action, alert.symbol, (alert.exchange or "").upper()) == (expected, "BTCUSDT", "BINANCE")
    assert alert_of({"code": code}).symbol is None


def test_wundertrading_amounts_and_protection_are_fractions_of_one() -> None:
    body = {
        "code": "ENTER-LONG" + WUNDER,
        "orderType": "market",
        "amountPerTradeType": "percents",
        "amountPerTrade": "0.5",
        "leverage": 5,
        "stopLoss": {"priceDeviation": 0.02},
        "takeProfits": [{"priceDeviation": 0.01, "portfolio": 0.5}, {"price": 70000, "portfolio": 0.5}],
    }
    alert = alert_of(body)
    assert (alert.size, alert.stop, alert.indicator) == (free("0.5"), offset("-0.02"), "My bot")
    assert [(target.level, target.fraction) for target in alert.targets] == [
        (offset("0.01"), free("0.5").value),
        (price("70000"), free("0.5").value),
    ]
    assert alert_of(body | {"amountPerTradeType": "quote", "amountPerTrade": 100}).size == quote("100")
    assert refused(body | {"amountPerTradeType": "contracts"}).code == "SIZE_UNSUPPORTED"
    assert refused(body | {"moveToBreakeven": {"activationPriceDeviation": 0.1}}).code == "FIELD_UNSUPPORTED"
    assert refused({"code": "hello", "amountPerTrade": 1, "amountPerTradeType": "base"}).code == "SIDE_UNKNOWN"


@pytest.mark.parametrize(
    ("members", "action", "size"),
    [
        ({"action": "ENTER_LONG", "investmentType": "margin", "amount": "100"}, Action.BUY, quote("100")),
        ({"action": "ENTER_LONG", "investmentType": "percentage_balance", "amount": "50"}, Action.BUY, free("0.5")),
        ({"action": "EXIT_LONG", "investmentType": "percentage_position", "amount": "100"}, Action.CLOSE, of_position("1")),
        ({"action": "ENTER_SHORT", "amount": ""}, Action.NONE, None),
        (
            {
                "id": "Long",
                "action": "buy",
                "marketPosition": "long",
                "prevMarketPosition": "flat",
                "investmentType": "base",
                "amount": "0.05",
            },
            Action.BUY,
            base("0.05"),
        ),
    ],
)
def test_okx_signals_are_read(members: dict[str, Any], action: Action, size: Size | None) -> None:
    alert = alert_of(OKX | {"orderType": "market", "orderPriceOffset": ""} | members)
    assert (alert.action, alert.symbol, alert.size, alert.max_age_s) == (action, "BTC-USDT", size, 60)


def test_okx_contracts_offsets_and_swaps_are_refused() -> None:
    body = OKX | {"action": "ENTER_LONG", "investmentType": "contract", "amount": "1"}
    assert refused(body).code == "SIZE_UNSUPPORTED"
    assert refused(body | {"investmentType": "percentage_investment"}).code == "SIZE_UNSUPPORTED"
    assert refused(body | {"orderType": "limit", "orderPriceOffset": "0.5", "investmentType": "margin"}).code == "FIELD_UNSUPPORTED"
    assert refused(body | {"instrument": "ETH-USDT-SWAP", "investmentType": "margin"}).code == "SYMBOL_DERIVATIVE"


@pytest.mark.parametrize(
    ("members", "action", "size"),
    [
        ({"direction": "long", "size": "50"}, Action.BUY, quote("50")),
        ({"direction": "long", "size": "5%"}, Action.BUY, free("0.05")),
        ({"direction": "close", "size": "50%"}, Action.CLOSE, of_position("0.5")),
        ({"direction": "close", "size": "7"}, Action.CLOSE, None),
        ({"direction": "short", "size": "50"}, Action.NONE, None),
        ({"direction": "short", "size": "50", "mode": "reverse"}, Action.TARGET, None),
        ({"direction": "long", "size": "50", "mode": "reverse"}, Action.BUY, quote("50")),
    ],
)
def test_alerts_processors_messages_are_read(members: dict[str, Any], action: Action, size: Size | None) -> None:
    alert = alert_of({"stub": "dev", "symbol": "BTC/USD"} | members)
    assert (alert.action, alert.size, alert.dialect) == (action, size, "alerts-processor")


def test_alerts_processors_budgets_are_refused() -> None:
    assert refused({"stub": "dev", "symbol": "BTC/USD", "direction": "long", "size": "50", "max": "500"}).code == "FIELD_UNSUPPORTED"
