from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from app.domain.candles import Timeframe
from app.domain.enums import OrderType, TimeInForce
from app.webhooks.alert import Action, Level, Size, TargetLevel
from tests.webhooks.readings import alert_of, alerts_of, base, equity, free, of_position, offset, price, quote, refused

MISSION = (
    "Symbol=BTCUSDT Exchange=BINANCE Interval=15 Action={action} Prix=98411,21 PrixSL=95000,5 PrixTP=103450 PourCent=10,5 "
    "UserExchangeID=Main BarTime=1750623480000 IndicateurName=Super Trend v2"
)


def test_missions_fields_are_read_as_text() -> None:
    alert = alert_of(MISSION.format(action="BuyMarket"))
    assert (alert.action, alert.symbol, alert.exchange, alert.type, alert.price) == (
        Action.BUY,
        "BTCUSDT",
        "BINANCE",
        OrderType.MARKET,
        None,
    )
    assert (alert.size, alert.stop, alert.targets) == (
        free("0.105"),
        price("95000.5"),
        (TargetLevel(level=price("103450"), fraction=Decimal(1)),),
    )
    assert (alert.account, alert.indicator, alert.interval) == ("Main", "Super Trend v2", Timeframe.M15)
    assert (alert.bar_time, alert.dialect) == (datetime(2025, 6, 22, 20, 18, tzinfo=UTC), "mission")


@pytest.mark.parametrize(
    ("action", "expected", "kind", "size"),
    [
        ("BuyMarket", Action.BUY, OrderType.MARKET, free("0.5")),
        ("SellMarket", Action.SELL, OrderType.MARKET, of_position("0.5")),
        ("BuyLimit", Action.BUY, OrderType.LIMIT, free("0.5")),
        ("SELLLIMIT", Action.SELL, OrderType.LIMIT, of_position("0.5")),
        ("MAJ", Action.PROTECT, OrderType.MARKET, None),
        ("PING", Action.PING, OrderType.MARKET, None),
    ],
)
def test_missions_actions_are_the_same_in_json_and_text(action: str, expected: Action, kind: OrderType, size: Size | None) -> None:
    text = f"Symbol=BTCUSDT\nAction={action}\nPrix=60000\nPrixSL=59000\nPourCent=50"
    members = {"Symbol": "BTCUSDT", "Action": action, "Prix": 60000, "PrixSL": "59000,0", "PrixTP": 0, "PourCent": "50"}
    for body in (text, members):
        alert = alert_of(body)
        assert (alert.action, alert.type, alert.size, alert.dialect) == (expected, kind, size, "mission")
        assert alert.price == (price("60000") if kind is OrderType.LIMIT else None)
        assert alert.stop == (price("59000") if expected in (Action.BUY, Action.PROTECT) else None)


def test_maj_without_anything_to_change_is_refused() -> None:
    assert refused("Symbol=BTCUSDT Action=MAJ PrixSL=0 PrixTP=").code == "PROTECTION_MISSING"
    assert refused("Symbol=BTCUSDT Action=BuyLimit").code == "PRICE_MISSING"


def test_values_of_several_words_and_comma_decimals_stay_whole() -> None:
    assert alert_of("symbol=BTCUSDT, action=buy, quantity=0,01, comment=two words, three").size == base("0.01")
    assert refused("symbol=BTCUSDT action=buy quantity=0. 01").code == "NUMBER_INVALID"
    assert refused("symbol=BTC USDT action=buy").code == "SYMBOL_INVALID"


@pytest.mark.parametrize(
    ("volume", "size"),
    [("0.01", base("0.01")), ("45q", quote("45")), ("5%", free("0.05")), ("5a%", free("0.05")), ("20p%", of_position("0.2"))],
)
def test_octobots_amounts_are_read(volume: str, size: Size) -> None:
    assert alert_of(f"EXCHANGE=binance;SYMBOL=BTCUSDT;SIGNAL=BUY;VOLUME={volume};TOKEN=hush").size == size


def test_octobots_percentages_are_converted_from_the_market_to_the_entry() -> None:
    alert = alert_of("SYMBOL=BTCUSDT;SIGNAL=BUY;ORDER_TYPE=LIMIT;VOLUME=45q;PRICE=-3%;TAKE_PROFIT_PRICE=10%;STOP_PRICE=-20%;BOT_ID=123")
    assert (alert.type, alert.price, alert.stop) == (OrderType.LIMIT, offset("-0.03"), offset("-0.175258"))
    assert alert.targets == (TargetLevel(level=offset("0.134021"), fraction=Decimal(1)),)
    market = alert_of("SYMBOL=BTCUSDT\nSIGNAL=BUY\nTAKE_PROFIT_PRICE=10%\nSTOP_PRICE=-20%")
    assert (market.stop, market.targets[0].level) == (offset("-0.2"), offset("0.1"))


def test_octobots_several_targets_have_their_ratios() -> None:
    alert = alert_of(
        "SYMBOL=BTCUSDT;SIGNAL=BUY;TAKE_PROFIT_PRICE=1234;TAKE_PROFIT_PRICE_1=1456;TAKE_PROFIT_VOLUME_RATIO_1=1;TAKE_PROFIT_VOLUME_RATIO_2=2"
    )
    assert [(target.level.price, target.fraction) for target in alert.targets] == [
        (Decimal(1234), Decimal("0.3333")),
        (Decimal(1456), Decimal("0.6667")),
    ]
    even = alert_of("SYMBOL=BTCUSDT;SIGNAL=BUY;TAKE_PROFIT_PRICE_1=1234;TAKE_PROFIT_PRICE_2=1456")
    assert [target.fraction for target in even.targets] == [Decimal("0.5"), Decimal("0.5")]


@pytest.mark.parametrize(
    ("rest", "code"),
    [
        ("BUY;STOP_PRICE=5%", "PROTECTION_INVALID"),
        ("BUY;TAKE_PROFIT_PRICE=-5%", "PROTECTION_INVALID"),
        ("BUY;STOP_PRICE=-3d", "PROTECTION_INVALID"),
        ("BUY;VOLUME=5t%", "QUANTITY_INVALID"),
        ("BUY;ORDER_TYPE=LIMIT;PRICE=60000;STOP_PRICE=-5%", "PROTECTION_INVALID"),
        ("BUY;ORDER_TYPE=LIMIT;PRICE=-10%;STOP_PRICE=-5%", "PROTECTION_INVALID"),
        ("SELL;ORDER_TYPE=STOP;STOP_PRICE=3", "TYPE_UNKNOWN"),
        ("CANCEL;TAG=exit1", "FIELD_UNSUPPORTED"),
        ("BUY;TAKE_PROFIT_PRICE_1=1;TAKE_PROFIT_PRICE_2=2;TAKE_PROFIT_VOLUME_RATIO_1=1", "PROTECTION_INVALID"),
    ],
)
def test_octobots_messages_that_mean_something_else_are_refused(rest: str, code: str) -> None:
    assert refused(f"SYMBOL=BTCUSDT;SIGNAL={rest}").code == code


def test_octobots_cancel_is_a_cancel() -> None:
    assert alert_of("EXCHANGE=binance\nSYMBOL=ETHBTC\nSIGNAL=CANCEL").action is Action.CANCEL


def test_autoviews_lines_are_alerts_in_their_order() -> None:
    alerts = alerts_of(
        "# weekly\ne=binance s=btcusdt c=order\ne=binance s=btcusdt c=position b=long\ne=binance s=btcusdt b=buy q=1% l=5 t=market delay=3"
    )
    assert [alert.action for alert in alerts] == [Action.CANCEL, Action.CLOSE, Action.BUY]
    assert (alerts[2].size, alerts[2].exchange, alerts[2].ignored) == (free("0.01"), "BINANCE", ("l",))
    assert len(alerts_of("s=btcusdt c=order|s=btcusdt b=buy q=1")) == 2


@pytest.mark.parametrize(
    ("command", "action", "facts"),
    [
        ("b=buy q=5% y=equity t=market", Action.BUY, {"size": equity("0.05")}),
        ("b=buy q=0.1 p=60000", Action.BUY, {"type": OrderType.LIMIT, "price": price("60000")}),
        ("b=buy q=0.1 p=-1%", Action.BUY, {"type": OrderType.LIMIT, "price": offset("-0.01")}),
        ("b=buy q=0.1 t=limit", Action.BUY, {"price": Level(offset=Decimal(0))}),
        ("b=buy q=0.1 t=ioc p=60000", Action.BUY, {"time_in_force": TimeInForce.IOC}),
        ("b=buy q=0.1 t=post p=60000", Action.BUY, {"post_only": True}),
        ("b=long q=0.1 sl=2% tp=4% ts=1%", Action.BUY, {"stop": offset("-0.02"), "trailing_delta": Decimal("0.01")}),
        ("b=buy q=0.1 d=1", Action.NONE, {}),
        ("b=sell q=50%", Action.SELL, {"size": free("0.5")}),
        ("c=position cm=50%", Action.CLOSE, {"size": of_position("0.5")}),
        ("c=position q=50%", Action.CLOSE, {"size": of_position("0.5")}),
        ("c=position b=short", Action.NONE, {}),
        ("b=short q=1%", Action.NONE, {}),
    ],
)
def test_autoviews_commands_are_read(command: str, action: Action, facts: dict[str, Any]) -> None:
    alert = alert_of(f"a=main e=binance s=btcusdt {command}")
    assert (alert.action, alert.account) == (action, None)
    assert {name: getattr(alert, name) for name in facts} == facts


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("c=order b=buy", "FIELD_UNSUPPORTED"),
        ("c=order cm=1", "FIELD_UNSUPPORTED"),
        ("c=position cm=2", "QUANTITY_INVALID"),
        ("c=all", "SIDE_UNKNOWN"),
        ("b=all q=1", "SIDE_MISSING"),
        ("b=up q=1", "SIDE_UNKNOWN"),
        ("b=buy q=1 t=open", "TYPE_UNKNOWN"),
        ("b=buy q=1 sl=50", "FIELD_UNSUPPORTED"),
        ("b=buy q=1 & sl=1%", "COMMAND_UNSUPPORTED"),
        ("b=buy q=1 delay=600", "DELAY_UNSUPPORTED"),
        ("b=buy q=1-5", "NUMBER_INVALID"),
        ("b=buy q=1\nhello", "COMMAND_UNSUPPORTED"),
        ("b=buy q=1\n" * 21, "TOO_MANY_ALERTS"),
    ],
)
def test_autoviews_commands_that_mean_something_else_are_refused(command: str, code: str) -> None:
    assert refused(f"s=btcusdt {command}").code == code


def test_alertatrons_stop_and_targets_become_the_entrys() -> None:
    (entry,) = alerts_of(
        "Long! mykeys(BTCUSDT) { market(side=buy, amount=0.01); wait(5s); stopOrder(side=sell, amount=100%p, offset=e2%);"
        " limit(side=sell, amount=50%p, offset=e4%); limit(side=sell, amount=50%p, offset=@70000); }\n#bot"
    )
    assert (entry.action, entry.size, entry.stop, entry.account) == (Action.BUY, base("0.01"), offset("-0.02"), None)
    assert entry.targets == (
        TargetLevel(level=offset("0.04"), fraction=Decimal("0.5")),
        TargetLevel(level=price("70000"), fraction=Decimal("0.5")),
    )


@pytest.mark.parametrize(
    ("commands", "action", "facts"),
    [
        ("market(side=buy, amount=5%)", Action.BUY, {"size": equity("0.05")}),
        ("market(side=buy, amount=5%%)", Action.BUY, {"size": free("0.05")}),
        ("limit(side=buy, amount=0.1, offset=1%, postOnly=true)", Action.BUY, {"price": offset("-0.01"), "post_only": True}),
        ("limit(side=sell, amount=0.1, offset=1%)", Action.SELL, {"price": offset("0.01")}),
        ("market(side=sell, amount=50%p)", Action.CLOSE, {"size": of_position("0.5")}),
        ("market(position=0)", Action.CLOSE, {"size": None}),
        ("market(position=0.05)", Action.TARGET, {"position": Decimal("0.05")}),
        ("market(position=-0.05)", Action.TARGET, {"position": Decimal("-0.05")}),
        ("stopOrder(side=sell, offset=@59000)", Action.PROTECT, {"stop": price("59000")}),
        ("cancel(which=all)", Action.CANCEL, {}),
        ("close()", Action.CLOSE, {}),
    ],
)
def test_alertatrons_commands_are_read(commands: str, action: Action, facts: dict[str, Any]) -> None:
    alert = alert_of(f"mykeys(BTCUSDT) {{ {commands}; }} #bot")
    assert (alert.action, alert.symbol) == (action, "BTCUSDT")
    assert {name: getattr(alert, name) for name in facts} == facts


@pytest.mark.parametrize(
    ("commands", "code"),
    [
        ("scaledOrder(side=buy, amount=1)", "COMMAND_UNSUPPORTED"),
        ("market(side=buy, amount=1", "COMMAND_UNSUPPORTED"),
        ("market(side=buy)", "QUANTITY_MISSING"),
        ("market(amount=1)", "SIDE_UNKNOWN"),
        ("wait(10m)", "DELAY_UNSUPPORTED"),
        ("limit(side=buy, amount=1, offset=40)", "PRICE_INVALID"),
        ("stopOrder(side=buy, offset=e2%)", "FIELD_UNSUPPORTED"),
        ("stopOrder(side=sell, amount=50%p, offset=e2%)", "FIELD_UNSUPPORTED"),
        ("cancel(which=stops)", "FIELD_UNSUPPORTED"),
        ("market(position=50%p)", "QUANTITY_INVALID"),
        ("market(side=buy, amount=1); stop(side=sell, offset=5)", "PRICE_INVALID"),
        ("notify(text=hello)", "SIDE_MISSING"),
        ("cancel();" * 21, "TOO_MANY_ALERTS"),
    ],
)
def test_alertatrons_commands_that_mean_something_else_are_refused(commands: str, code: str) -> None:
    assert refused(f"mykeys(BTCUSDT) {{ {commands}; }}").code == code


def test_alertatrons_derivatives_are_refused() -> None:
    assert refused("mykeys(BTCUSDT.P) { market(side=buy, amount=1); }").code == "SYMBOL_DERIVATIVE"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ("symbol=BTCUSDT\naction=buy\nqty=1\nSL: 59000", "sl"),
        ("symbol=BTCUSDT;action=buy;qty=1;sl 59000", "sl"),
        ("symbol=BTCUSDT action=buy qty=1 exchange=BINANCE stop: 59000", "stop"),
        ("symbol=BTCUSDT;action=buy;qty=1;stop loss=59000", "loss"),
        ("e=binance s=btcusdt b=buy q=0.01 t=market stop_loss=59000", "stop_loss"),
        ("k(BTCUSDT) { market(side=buy, amount=0.01, stopLoss=2%); }", "stoploss"),
        ("k(BTCUSDT) { market(side=buy, amount=0.01); } sl=59000", "sl"),
        ("k(BTCUSDT) { market(side=buy, amount=0.01); } k(BTCUSDT) { stopOrder(side=sell, offset=e2%)", "stoporder"),
        ('{"action":"buy","symbol":"BTCUSDT","quantity":1,"tsl":"2%"}', "tsl"),
        ('{"action":"buy","symbol":"BTCUSDT","quantity":1,"S/L":59000}', "s/l"),
        ('{"action":"buy","symbol":"BTCUSDT","quantity":1,"trailstop":"2%"}', "trailstop"),
    ],
)
def test_entry_is_refused_when_its_stop_stands_where_nobody_reads_it(body: str, field: str) -> None:
    error = refused(body)
    assert (error.code, error.field) == ("FIELD_UNSUPPORTED", field)


def test_exit_is_not_held_back_by_a_stop_that_nobody_reads() -> None:
    assert alert_of("symbol=BTCUSDT\naction=close\nSL: 59000").action is Action.CLOSE


def test_name_that_is_no_text_is_not_told() -> None:
    for name in (r"\ud800", r"\u0000"):
        assert refused(f'{{"{name}": 1, "{name}": 2}}').code == "NOT_TEXT"
