"""A body of every kind that is seen in the field, written for the tests: kind, body, and what it is understood as or refused for."""

from app.errors import BadPayload
from app.webhooks.alert import Alert, Level, Reading
from app.webhooks.reading import read_message

_STRATEGY = '"market_position": "long", "market_position_size": "0.2", "prev_market_position": "flat", "prev_market_position_size": "0"'

BODIES: list[tuple[str, str, str]] = [
    ("ours", '{"symbol": "BTC/USDT", "side": "buy", "percent": 5, "stop_loss": "59000"}', "buy BTC/USDT free 0.05 stop 59000"),
    ("mission", "Symbol=ETHUSDT Action=BuyLimit Prix=2500,5 PrixSL=2400 PourCent=10", "buy ETHUSDT free 0.1 limit 2500.5 stop 2400"),
    ("mission", "Symbol=ETHUSDT Action=SellMarket PourCent=100", "sell ETHUSDT position 1"),
    ("mission", '{"Symbol": "ETHUSDT", "Action": "MAJ", "PrixSL": 2450, "PrixTP": 0}', "protect ETHUSDT stop 2450"),
    ("mission", "Action=PING", "ping"),
    (
        "traderspost",
        '{\n "ticker": "ETHUSDT",\n "action": "buy",\n "sentiment": "long",\n "quantity": "0.2",\n "price": "2501.2",\n "interval": "5"\n}',
        "buy ETHUSDT base 0.2",
    ),
    ("traderspost", '{"ticker":"SOLUSDT","action":"exit","sentiment":"flat"}', "close SOLUSDT"),
    (
        "traderspost",
        '{"ticker":"SOLUSDT","action":"buy","quantity":3,"takeProfit":{"percent":6},"stopLoss":{"type":"stop","percent":3}}',
        "buy SOLUSDT base 3 stop -3% target 6%",
    ),
    ("3commas-dca", '{"message_type": "bot", "bot_id": 7, "email_token": "hush", "delay_seconds": 0}', "buy -"),
    ("3commas-dca", '{"message_type": "bot", "bot_id": 7, "email_token": "hush", "pair": "USDT_SOL"}', "buy SOL/USDT"),
    ("3commas-dca", '{"action": "close_at_market_price", "message_type": "bot", "bot_id": 7, "pair": "USDT_SOL"}', "close SOL/USDT"),
    (
        "3commas-signal",
        '{"secret": "hush", "max_lag": "60", "tv_exchange": "BINANCE", "tv_instrument": "SOLUSDT", "action": "buy", "bot_uuid": "x",'
        f' "strategy_info": {{{_STRATEGY}}}, "order": {{"amount": "0.2", "currency_type": "base"}}}}',
        "buy SOLUSDT base 0.2",
    ),
    ("wundertrading", "ENTER-LONG_BINANCE_SOLUSDT_Other bot_5M_00000000000000000000000f", "buy SOLUSDT"),
    (
        "wundertrading",
        '{"code": "ENTER-SHORT_BINANCE_SOLUSDT_b_5M_0f", "orderType": "market", "amountPerTradeType": "percents", "amountPerTrade": "0.5"}',
        "none SOLUSDT",
    ),
    ("wundertrading", "EXIT-ALL_BINANCE_SOLUSDT_Other bot_5M_00000000000000000000000f", "close SOLUSDT"),
    ("alertatron", "main(SOLUSDT) { market(side=buy, amount=2); }\n#bot", "buy SOLUSDT base 2"),
    ("autoview", "a=* e=kraken s=solusdt b=buy q=7% t=market", "buy SOLUSDT free 0.07"),
    (
        "autoview",
        "s=solusdt c=order\ns=solusdt c=position\ns=solusdt b=buy q=7% t=market",
        "cancel SOLUSDT; close SOLUSDT; buy SOLUSDT free 0.07",
    ),
    ("okx", '{"id":"Long","action":"buy","marketPosition":"long","instrument":"SOLUSDT.P","signalToken":"hush"}', "SYMBOL_DERIVATIVE"),
    ("okx", '{"action":"EXIT_LONG","instrument":"SOL-USDT-SWAP","signalToken":"hush","amount":"100"}', "SYMBOL_DERIVATIVE"),
    ("octobot", "EXCHANGE=KRAKEN\nSYMBOL=SOLUSDT\nSIGNAL=BUY", "buy SOLUSDT"),
    (
        "octobot",
        "SYMBOL=SOLUSDT\nVOLUME=2\nPRICE=150\nTAKE_PROFIT_PRICE=170\nSIGNAL=BUY\nORDER_TYPE=LIMIT",
        "buy SOLUSDT base 2 limit 150 target 170",
    ),
    ("octobot", "SYMBOL=SOLUSDT;SIGNAL=BUY;VOLUME=60q;STOP_PRICE=-10%", "buy SOLUSDT quote 60 stop -10%"),
    ("alerts-processor", '{ "stub": "s", "direction": "long", "symbol": "SOL-PERP", "size": "30" }', "SYMBOL_DERIVATIVE"),
    ("alerts-processor", '[{ "stub": "s", "direction": "close", "symbol": "SOL/USD", "size": "30%" }]', "close SOL/USD position 0.3"),
    ("webhooks-bot", '{"key": "hush", "message": "hello there"}', "SIDE_MISSING"),
    (
        "nested",
        '{"passphrase": "hush", "ticker": "SOLUSDT", "strategy": {"order_action": "sell", "order_contracts": 0.2,'
        ' "market_position": "flat", "market_position_size": 0, "prev_market_position": "long", "prev_market_position_size": 0.2}}',
        "close SOLUSDT",
    ),
    ("flat", '{"symbol": "SOLUSDT", "action": "sell", "price": "151.3"}', "sell SOLUSDT"),
    ("flat", '{"symbol": "SOLUSDT", "action": "sell", "position_size": "-2"}', "target SOLUSDT -2"),
    ("flat", '{"event_id":"2026-03-04T05:06:07Z-Long","ticker":"SOLUSDT","action":"buy","price":151.3}', "buy SOLUSDT"),
    ("pipe", "hush|my rsi|buy|SOLUSDT", "buy SOLUSDT"),
    ("words", "sell SOLUSDT", "sell SOLUSDT"),
    ("tv-strategy", "RSI (14): order buy @ 2 filled on SOLUSDT. New strategy position is 2", "buy SOLUSDT base 2"),
    ("tv-price", "SOLUSDT Greater Than 1,150.00", "UNREADABLE_TEXT"),
    ("flat", '{"symbol":"SOLUSDT","action":"buy"}\n', "buy SOLUSDT"),
    ("broken", "{“symbol”: “SOLUSDT”, “action”: “buy”}", "SMART_QUOTES"),
    ("broken", '{"ticker":"SOLUSDT","action":"buy","tp":170.5,"sl":NaN}', "NUMBER_INVALID"),
    ("broken", '{"ticker":"{{ticker}}","action":"buy"}', "PLACEHOLDER_UNFILLED"),
    ("unicode", '{"symbol":"SOLUSDT","action":"buy","comment":"Achat – cassure ↑ 5‰"}', "buy SOLUSDT"),
]


def understood(body: str) -> str:
    """What a body is understood as, in a few words, or the code it is refused with."""
    try:
        reading = read_message(body.encode())
    except BadPayload as refusal:
        return refusal.code
    return "; ".join(_words(alert) for alert in reading.alerts)


def table(rows: list[tuple[str, str]]) -> str:
    """Lines of kind → understood as → refusal code."""
    lines = [f"{'kind':<22} {'understood as':<62} refused"]
    for kind, result in rows:
        is_code = result.isupper() and " " not in result
        lines.append(f"{kind:<22} {'' if is_code else result:<62} {result if is_code else ''}".rstrip())
    return "\n".join(lines)


def dialect_of(reading: Reading) -> str:
    return str(reading.parsed["dialect"])


def _words(alert: Alert) -> str:
    words = [alert.action.value]
    if alert.symbol is not None or alert.action.value not in ("ping", "none"):
        words.append(alert.symbol or "-")
    if alert.size is not None:
        words += [alert.size.kind.value, _plain(alert.size.value)]
    if alert.position is not None:
        words.append(_plain(alert.position))
    if alert.price is not None:
        words += ["limit", _level(alert.price)]
    if alert.stop is not None:
        words += ["stop", _level(alert.stop)]
    for target in alert.targets:
        words += ["target", _level(target.level)]
    return " ".join(words)


def _level(level: Level) -> str:
    return _plain(level.price) if level.price is not None else f"{_plain((level.offset or 0) * 100)}%"


def _plain(number: object) -> str:
    return format(number.normalize(), "f") if hasattr(number, "normalize") else str(number)
