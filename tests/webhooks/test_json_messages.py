from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from app.domain.candles import Timeframe
from app.domain.enums import OrderType, TimeInForce
from app.webhooks.alert import Action, Size, SizeKind, TargetLevel
from app.webhooks.reading import read_message
from tests.webhooks.readings import alert_of, alerts_of, base, buy, equity, free, of_position, offset, price, quote, refused


def test_json_alert_is_a_market_order_and_its_price_only_what_the_chart_showed() -> None:
    alert = alert_of('{"ticker":"BTCUSDT","action":"buy","quantity":"0.05","price":"98411.21","interval":"1"}')
    assert (alert.action, alert.symbol, alert.type, alert.size, alert.price) == (
        Action.BUY,
        "BTCUSDT",
        OrderType.MARKET,
        base("0.05"),
        None,
    )
    assert (alert.interval, alert.ignored) == (Timeframe.M1, ("price",))


@pytest.mark.parametrize(
    "body",
    [
        '{"symbol":"BTCUSDT","action":"buy","quantity":0.01}\n',
        '\ufeff{"symbol":"BTCUSDT","action":"buy","quantity":0.01}',
        '{"SYMBOL":"BTCUSDT","Side":"LONG","Qty":"0,01"}',
        '{"symbol":"BTCUSDT","action":"buy","quantity":1e-2,"comment":"Kauf – Ausbruch ↑ 5‰"}',
        '[{"symbol":"btcusdt","action":"BUY","contracts":".01"}]',
        '{"symbol":"BTCUSDT","action":"open","side":"long","amount":"0.01"}',
        '{"symbol":"BTCUSDT","action":"Enter-Long","strategy":{"order":1,"order_contracts":0.01}}',
        "symbol=BTCUSDT side=buy quantity=0.01",
        "symbol=BTCUSDT,side=buy,quantity=0,01",
        'SYMBOL="BTCUSDT";SIGNAL=BUY;VOLUME=0.01',
        "EXCHANGE=\nSYMBOL=BTCUSDT\nSIGNAL=BUY\nVOLUME=0.01",
        "Symbol=BTCUSDT Action=achat Quantity=0,01",
        "buy BTCUSDT quantity=0.01",
        "buy BTCUSDT 0.01",
        "  Buy\tBTCUSDT, 0.01  ",
        "key|my macd|buy|BTCUSDT|0.01",
        "s=btcusdt b=buy q=0.01 t=market",
        "keys(BTCUSDT) { market(side=buy, amount=0.01); } #bot",
        "MACD (12, 26, 9): order buy @ 0.01 filled on BTCUSDT. New strategy position is 0.01",
    ],
)
def test_same_wish_is_read_in_every_way_of_writing_it(body: str) -> None:
    alert = alert_of(body)
    assert (alert.action, alert.symbol, alert.type, alert.size) == (Action.BUY, "BTCUSDT", OrderType.MARKET, base("0.01"))


@pytest.mark.parametrize(
    ("members", "size"),
    [
        ({"notional": 45}, quote("45")),
        ({"quantity": "45q"}, quote("45")),
        ({"percent": 5}, free("0.05")),
        ({"percent": "5%"}, free("0.05")),
        ({"quantity": "5%"}, free("0.05")),
        ({"percent": "12,5"}, free("0.125")),
        ({"equity_percent": 10}, equity("0.1")),
        ({"risk_percent": "1%"}, Size(kind=SizeKind.RISK, value=Decimal("0.01"))),
        ({"position_percent": 50}, of_position("0.5")),
        ({}, None),
        ({"quantity": ""}, None),
        ({"quantity": "0.01", "contracts": 0.01}, base("0.01")),
    ],
)
def test_size_is_counted_in_what_its_name_or_its_sign_says(members: dict[str, Any], size: Size | None) -> None:
    assert alert_of({"ticker": "BTCUSDT", "action": "buy"} | members).size == size


@pytest.mark.parametrize(
    ("action", "size"),
    [("close", of_position("0.5")), ("exit_long", of_position("0.5")), ("reduce", of_position("0.5")), ("sell", free("0.5"))],
)
def test_percentage_of_a_close_is_of_the_position_and_of_a_sell_of_the_balance(action: str, size: Size) -> None:
    alert = alert_of({"ticker": "BTCUSDT", "action": action, "size": "50%"})
    assert (alert.action, alert.size) == (Action.SELL if action == "sell" else Action.CLOSE, size)


def test_close_of_so_many_units_sells_that_many() -> None:
    alert = alert_of({"ticker": "BTCUSDT", "action": "close", "quantity": "0.5"})
    assert (alert.action, alert.size) == (Action.SELL, base("0.5"))


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("close", Action.CLOSE), ("exit", Action.CLOSE), ("flat", Action.CLOSE), ("EXIT_LONG", Action.CLOSE), ("exit-all", Action.CLOSE),
        ("fermer", Action.CLOSE), ("cancel", Action.CANCEL), ("cancel_all", Action.CANCEL), ("reverse", Action.REVERSE),
        ("ping", Action.PING), ("TEST", Action.PING), ("hold", Action.NONE), ("sell", Action.SELL), ("short", Action.NONE),
        ("enter_short", Action.NONE), ("exit_short", Action.NONE), ("buy_to_cover", Action.NONE),
    ],
)  # fmt: skip
def test_action_words_mean_what_a_spot_account_can_do(action: str, expected: Action) -> None:
    alert = alert_of({"ticker": "BTCUSDT", "action": action})
    assert alert.action is expected
    if expected is Action.NONE:
        assert alert.note


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"action": "close", "side": "long"}, Action.CLOSE),
        ({"action": "close", "side": "sell"}, Action.CLOSE),
        ({"action": "close", "side": "short"}, Action.NONE),
        ({"action": "buy", "direction": "long"}, Action.BUY),
        ({"action": "buy", "direction": "short"}, Action.NONE),
        ({"action": "sell", "direction": "long"}, Action.SELL),
        ({"action": "sell", "direction": "short"}, Action.TARGET),
        ({"action": "open", "side": "short"}, Action.NONE),
        ({"action": "reverse", "side": "long"}, Action.BUY),
        ({"action": "reverse", "side": "short"}, Action.TARGET),
    ],
)
def test_two_words_are_read_together(members: dict[str, Any], expected: Action) -> None:
    assert alert_of({"ticker": "BTCUSDT"} | members).action is expected


def test_limit_order_keeps_price_and_conditions() -> None:
    alert = alert_of(buy(type="LIMIT", price="60000.5", time_in_force="IOC", post_only="true"))
    assert (alert.type, alert.price, alert.time_in_force) == (OrderType.LIMIT, price("60000.5"), TimeInForce.IOC)
    assert alert.post_only
    assert alert_of(buy(limit_price=60000)).type is OrderType.LIMIT, "a limit price makes a limit order"
    assert alert_of(buy(type="limit", price="-3%")).price == offset("-0.03")


@pytest.mark.parametrize(("text", "expected"), [("true", True), ("1", True), ('"yes"', True), ("false", False), ('"no"', False)])
def test_post_only_is_read_as_json_and_as_text(text: str, expected: bool) -> None:  # noqa: FBT001  # a column of the table
    assert alert_of(f'{{"ticker":"B/U","action":"buy","quantity":1,"type":"limit","price":1,"post_only":{text}}}').post_only is expected


@pytest.mark.parametrize(
    ("members", "stop"),
    [
        ({"stop_loss": "59000"}, price("59000")), ({"stopLoss": 59000}, price("59000")), ({"sl": "2%"}, offset("-0.02")),
        ({"sl": "-2%"}, offset("-0.02")), ({"stop_loss_percent": 2}, offset("-0.02")), ({"stopLoss": {"percent": 2}}, offset("-0.02")),
        ({"stopLoss": {"type": "stop", "stopPrice": 59000}}, price("59000")), ({"stop_loss": {"priceDeviation": 0.02}}, offset("-0.02")),
    ],
)  # fmt: skip
def test_stop_is_a_price_or_a_percentage_below_the_entry(members: dict[str, Any], stop: object) -> None:
    alert = alert_of(buy(**members))
    assert (alert.action, alert.stop) == (Action.BUY, stop)


@pytest.mark.parametrize("value", [None, "", 0, "na", "0", "0.000", "null", "N/A", {}, [], False])
def test_protection_left_empty_by_the_strategy_is_no_protection(value: object) -> None:
    alert = alert_of(buy(stop_loss=value, tp=value, trailing_percent=value, break_even_after=value))
    assert (alert.stop, alert.targets, alert.trailing_delta, alert.break_even_after) == (None, (), None, None)


def test_several_targets_keep_their_fractions_or_share_evenly() -> None:
    alert = alert_of(buy(sl=59000, targets=[{"price": 66000, "fraction": 0.5}, {"percent": 12, "fraction": "25%"}], break_even_after=1))
    assert alert.targets == (
        TargetLevel(level=price("66000"), fraction=Decimal("0.5")),
        TargetLevel(level=offset("0.12"), fraction=Decimal("0.25")),
    )
    assert alert.break_even_after == 1
    shared = alert_of(buy(tp1=61000, tp2=62000, tp3="63000")).targets
    assert [target.fraction for target in shared] == [Decimal("0.3333"), Decimal("0.3333"), Decimal("0.3334")]


def test_stop_limit_and_trailing_distance_are_read() -> None:
    alert = alert_of(buy(stop_loss=59000, stop_limit="58900"))
    assert (alert.stop, alert.stop_limit) == (price("59000"), price("58900"))
    for members in ({"trailing_percent": 2}, {"trailing_stop": "2%"}, {"stopLoss": {"type": "trailing_stop", "trailPercent": 2}}):
        assert alert_of(buy(**members)).trailing_delta == Decimal("0.02")


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"sl": "NaN"}, "NUMBER_INVALID"), ({"sl": "soon"}, "NUMBER_INVALID"), ({"sl": True}, "NUMBER_INVALID"),
        ({"sl": -59000}, "PROTECTION_INVALID"), ({"sl": "+2%"}, "PROTECTION_INVALID"), ({"sl": "150%"}, "PROTECTION_INVALID"),
        ({"sl": 59000, "stop_loss": 58000}, "PROTECTION_INVALID"), ({"tp": "-4%"}, "PROTECTION_INVALID"),
        ({"sl": "5pips"}, "NUMBER_INVALID"), ({"stop_loss_pips": 50}, "FIELD_UNSUPPORTED"), ({"slPips": 50}, "FIELD_UNSUPPORTED"),
        ({"trailing_stop": 250}, "PROTECTION_INVALID"), ({"trailOffset": 5}, "FIELD_UNSUPPORTED"),
        ({"risk": {"stop": {"price": 59000}}}, "FIELD_UNSUPPORTED"), ({"stopLoss": {"amount": 10}}, "FIELD_UNSUPPORTED"),
        ({"moveToBreakeven": {"activation": 0.1}}, "FIELD_UNSUPPORTED"), ({"targets": [{"fraction": 1}]}, "PROTECTION_INVALID"),
        ({"targets": [{"price": 1, "fraction": 0.7}, {"price": 2, "fraction": 0.7}]}, "PROTECTION_INVALID"),
        ({"tp": 66000, "targets": [{"price": 66000, "fraction": 1}]}, "PROTECTION_INVALID"),
        ({"break_even_after": 2, "tp": 66000}, "PROTECTION_INVALID"), ({"stop_limit": 58000}, "PROTECTION_INVALID"),
        ({"targets": [1] * 11}, "PROTECTION_INVALID"),
    ],
)  # fmt: skip
def test_entry_whose_protection_cannot_be_understood_is_refused(members: dict[str, Any], code: str) -> None:
    assert refused(buy(**members)).code == code


def test_sell_and_close_are_not_held_back_by_a_stop_that_protects_nothing() -> None:
    for action in ("sell", "close"):
        alert = alert_of({"ticker": "BTCUSDT", "action": action, "sl": "soon", "trailOffset": 5})
        assert (alert.stop, alert.ignored) == (None, ("sl", "trailOffset"))


def test_members_without_bearing_are_listed_and_do_not_hinder() -> None:
    alert = alert_of(buy(leverage=5, marginType="isolated", bot_id=7, comment="x"))
    assert alert.ignored == ("leverage", "marginType", "bot_id", "comment")


def test_update_of_stop_and_targets_is_read_and_needs_one() -> None:
    alert = alert_of({"symbol": "BTCUSDT", "action": "update", "stop_loss": 59000})
    assert (alert.action, alert.stop) == (Action.PROTECT, price("59000"))
    assert alert_of({"symbol": "BTCUSDT", "action": "breakeven"}).stop == offset("0")
    assert refused({"symbol": "BTCUSDT", "action": "update", "stop_loss": 0}).code == "PROTECTION_MISSING"


def test_signal_beside_an_action_may_be_a_remark() -> None:
    assert alert_of(buy(signal="RSI oversold", direction="up")).ignored == ("signal", "direction")
    assert refused({"ticker": "BTCUSDT", "signal": "RSI oversold"}).code == "SIDE_UNKNOWN"
    assert refused(buy(signal="sell")).code == "SIDE_CONTRADICTS"


def test_only_a_test_and_a_buy_that_only_covers_do_nothing() -> None:
    assert alert_of(buy(test=True)).action is Action.NONE
    assert alert_of({"ticker": "BTCUSDT", "action": "cancel", "test": False, "dry_run": "true"}).action is Action.NONE
    assert alert_of(buy(reduceOnly="true")).action is Action.NONE
    assert alert_of(buy(reduceOnly=False)).action is Action.BUY


@pytest.mark.parametrize("word", ["on", "1.0", "Y", "enabled", 1, True])
def test_whatever_does_not_clearly_say_no_makes_a_dry_run(word: object) -> None:
    assert alert_of({"ticker": "BTCUSDT", "action": "buy", "quantity": "1", "dry_run": word}).action is Action.NONE


@pytest.mark.parametrize("word", ["off", "No", "false", "0", 0, False, "", None])
def test_a_clear_no_is_no_dry_run(word: object) -> None:
    assert alert_of({"ticker": "BTCUSDT", "action": "buy", "quantity": "1", "dry_run": word}).action is Action.BUY


@pytest.mark.parametrize(
    ("text", "symbol", "exchange"),
    [
        ("BTCUSDT", "BTCUSDT", None), ("btcusdt", "BTCUSDT", None), ("BINANCE:BTCUSDT", "BTCUSDT", "BINANCE"),
        ("BTC-USDT", "BTC-USDT", None),
        ("btc/usdt", "BTC/USDT", None), ("kraken:xbt/usd", "XBT/USD", "KRAKEN"), ("PERPUSDT", "PERPUSDT", None),
        ("1INCHUSDT", "1INCHUSDT", None),
        ("币安人生USDT", "币安人生USDT", None),
    ],
)  # fmt: skip
def test_symbol_is_separated_from_its_venue(text: str, symbol: str, exchange: str | None) -> None:
    alert = alert_of({"ticker": text, "action": "buy"})
    assert (alert.symbol, alert.exchange) == (symbol, exchange)


@pytest.mark.parametrize(
    "text",
    [
        "BTCUSDT.P",
        "BINANCE:BTCUSDT.P",
        "BTCUSDTPERP",
        "ETH-PERP",
        "ETH-USDT-SWAP",
        "BTC/USDT:USDT",
        "BTC1!",
        "BTCUSDT_260327",
        "BTC-27MAR26",
    ],
)
def test_derivatives_are_refused_with_the_reason(text: str) -> None:
    error = refused({"ticker": text, "action": "buy"})
    assert (error.code, error.field) == ("SYMBOL_DERIVATIVE", "ticker")
    assert text in error.message


def test_moment_candle_and_patience_are_told_apart() -> None:
    alert = alert_of(buy(time="2025-06-22T20:19:01Z", interval="240", max_age_s=30, bar={"time": "2025-06-22T20:00:00Z", "close": 1}))
    assert (alert.at, alert.bar_time) == (datetime(2025, 6, 22, 20, 19, 1, tzinfo=UTC), datetime(2025, 6, 22, 20, tzinfo=UTC))
    assert (alert.interval, alert.max_age_s) == (Timeframe.H4, 30)
    opening = alert_of(buy(time="2025-06-22T20:19:00Z"))
    assert (opening.at, opening.bar_time) == (None, datetime(2025, 6, 22, 20, 19, tzinfo=UTC)), "{{time}} is the candle's opening"
    assert alert_of(buy(timenow="1750623540000")).at == datetime(2025, 6, 22, 20, 19, tzinfo=UTC)
    assert alert_of(buy(time="noon", interval="7")).at is None


def test_account_key_and_indicator_are_named() -> None:
    alert = alert_of(buy(broker="Main", client_intent_id="abc", indicator="MACD"))
    assert (alert.account, alert.key, alert.indicator) == ("Main", "abc", "MACD")
    assert alert_of(buy(broker=0, client_intent_id="")).key is None


def test_list_is_several_alerts_in_order_or_none_at_all() -> None:
    both = alerts_of([{"action": "cancel", "ticker": "BTCUSDT"}, buy()])
    assert [alert.action for alert in both] == [Action.CANCEL, Action.BUY]
    error = refused([buy(), buy(action="hodl")])
    assert (error.code, error.field) == ("SIDE_UNKNOWN", "action")
    assert "alert 2 of 2" in error.message
    assert len(alerts_of([buy()] * 20)) == 20
    assert refused([buy()] * 21).code == "TOO_MANY_ALERTS"


def test_what_was_understood_can_be_stored_and_shows_no_secret() -> None:
    body = '{"ticker":"BTCUSDT","action":"buy","quantity":1e-9,"passphrase":"hush","x":{"token":["hush"]},"list":[1,null,true]}'
    reading = read_message(body.encode())
    assert reading.parsed == {
        "dialect": "json",
        "alerts": [
            {
                "action": "buy", "symbol": "BTCUSDT", "type": "market", "size": {"kind": "base", "value": "0.000000001"},
                "time_in_force": "gtc", "ignored": ["passphrase", "x", "list"],
            }
        ],
        "members": {
            "ticker": "BTCUSDT", "action": "buy", "quantity": "1E-9", "passphrase": "***", "x": {"token": "***"}, "list": ["1", None, True],
        },
    }  # fmt: skip
    assert read_message(body.encode()) == reading
