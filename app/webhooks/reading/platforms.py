"""JSON of other platforms, said in our members: what they call a size, a stop or an action. What is unknown here is refused.

Sources: 3Commas help 9374557 and 8894481; docs.traderspost.io (Signal Message Reference, quantity types); WunderTrading help and
docs/mcp place_strategy_trade; OKX signal-bot-alert-message-specifications; tradingview-alerts-processor docs/2_Alerts.md.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Final

from app.errors import BadPayload
from app.webhooks.reading.members import Members, plain_name
from app.webhooks.reading.numbers import is_nothing, read_number
from app.webhooks.reading.symbols import quote_first

#: ENTER-LONG_BINANCE_BTCUSDT_My bot_1M_0123…: WunderTrading's code; its end is a secret and may have been masked.
WUNDER_CODE: Final = re.compile(r"(?i)((?:enter|exit)-(?:long|short|all))_([^_\s]{1,40})_([^_\s]{1,40})_([^\n]{1,200})_([0-9a-z*]{1,64})")
_WUNDER_ACTIONS: Final = frozenset({"enterlong", "entershort", "exitlong", "exitshort", "exitall"})
_COMMAS_ACTIONS: Final[dict[str, str]] = {
    "": "enter_long",
    "startdeal": "enter_long",
    "startbotandstartdeal": "enter_long",
    "addfundsinquote": "buy",
    "addfundsinbase": "buy",
    "closeatmarketprice": "close",
    "closeatmarketpriceall": "close",
    "closeatmarketpriceallandstopbot": "close",
    "closeatmarketpriceallstopbot": "close",
    "cancel": "cancel",
    "cancelall": "cancel",
    "cancelallandstopbot": "cancel",
    "startbot": "none",
    "stopbot": "none",
}
_COMMAS_CURRENCIES: Final = {
    "base": "quantity",
    "quote": "notional",
    "positionpercent": "position_percent",
    "percent": "percent",
    "balancepercent": "percent",
    "quotepercent": "percent",
    "basepercent": "percent",
}
_POST_TYPES: Final = {
    "fixedquantity": "quantity",
    "dollaramount": "notional",
    "riskpercent": "risk_percent",
    "percentofequity": "equity_percent",
    "percentofposition": "position_percent",
}
_OKX_TYPES: Final = {"base": "quantity", "margin": "notional", "percentagebalance": "percent", "percentageposition": "position_percent"}
_WUNDER_TYPES: Final = {"base": "quantity", "quote": "notional", "$": "notional", "percents": "percent"}


def three_commas_bot(members: Members) -> str:
    """DCA bot: the pair is QUOTE_BASE, and no action starts a deal, which on a spot account is a buy.

    Raises:
        BadPayload: an action or a pair that is not known here.
    """
    name = plain_name(members.text("action"))
    if name not in _COMMAS_ACTIONS:
        raise BadPayload(f"3Commas's action {name[:40]} is not known here", code="SIDE_UNKNOWN", field="action")
    if "pair" in members and not is_nothing(members.peek("pair")):
        members.put("pair", quote_first(members.peek("pair"), "pair"))
    if name == "addfundsinquote":
        _rename(members, "volume", "notional")
    members.put("action", _COMMAS_ACTIONS[name])
    members.take("messagetype")
    return "3commas"


def three_commas_signal(members: Members) -> str:
    """Signal bot: the order's amount and what it is counted in; the price is only the chart's.

    Raises:
        BadPayload: a currency type that is not known here.
    """
    members.merge("order")
    _counted(members, "currencytype", "amount", _COMMAS_CURRENCIES, "3Commas")
    # Their trigger_price is {{close}}, the price at which the signal arose.
    members.drop("triggerprice")
    if plain_name(members.text("action")) in ("enable", "disable"):
        members.put("action", "none")
    return "3commas-signal"


def traders_post(members: Members) -> str:
    """TradersPost: quantityType says what the quantity counts.

    Raises:
        BadPayload: a quantity type that is not known here.
    """
    _counted(members, "quantitytype", "quantity", _POST_TYPES, "TradersPost")
    if plain_name(members.text("ordertype")) == "limit" and is_nothing(members.peek("limitprice")) and is_nothing(members.peek("price")):
        members.put("price", members.take("signalprice"))
    if is_nothing(members.peek("ordertype")) or plain_name(members.text("ordertype")) == "market":
        members.drop("limitprice")
    return "traderspost"


def okx(members: Members) -> str:
    """OKX's signal bot: percentages of the bot's own investment and contracts have no meaning here.

    Raises:
        BadPayload: an investment type that is not known here.
    """
    _counted(members, "investmenttype", "amount", _OKX_TYPES, "OKX")
    offset = members.take("orderpriceoffset")
    if plain_name(members.text("ordertype")) == "limit":
        if not is_nothing(offset):
            raise BadPayload(
                "a limit order at an offset (orderPriceOffset) is not taken over from OKX: send price and type limit",
                code="FIELD_UNSUPPORTED",
                field="orderpriceoffset",
            )
        members.put("price", "0%")
    members.drop("id")
    return "okx"


def wunder_trading(members: Members) -> str:
    """WunderTrading's JSON: the action, exchange and pair stand in `code`; percents are fractions of one.

    Raises:
        BadPayload: a code or an amount's type that is not known here.
    """
    wunder_code(members, members.text("code"))
    members.take("code")
    kind = plain_name(members.text("amountpertradetype"))
    amount = members.take("amountpertrade")
    if not is_nothing(amount):
        if kind not in _WUNDER_TYPES:
            raise _unknown_count("WunderTrading", "amountPerTradeType", kind)
        if kind == "percents":
            amount = read_number(amount, "amountpertrade") * 100
        members.put(plain_name(_WUNDER_TYPES[kind]), amount)
    for name in ("timetolive", "leverage"):
        members.drop(name)
    return "wundertrading"


def wunder_code(members: Members, code: str) -> None:
    """Take a WunderTrading code apart into action, exchange and symbol.

    Raises:
        BadPayload: SIDE_UNKNOWN: it is no such code.
    """
    found = WUNDER_CODE.fullmatch(code.strip())
    if found is not None:
        members.put("action", found[1])
        members.put("exchange", found[2])
        if found[3].upper() != "NONE":
            members.put("symbol", found[3])
        members.put("indicator", found[4].rsplit("_", 1)[0][:200])
    elif plain_name(code) in _WUNDER_ACTIONS:
        members.put("action", code)
    else:
        raise BadPayload(
            "the code must begin with ENTER-LONG, ENTER-SHORT, EXIT-LONG, EXIT-SHORT or EXIT-ALL", code="SIDE_UNKNOWN", field="code"
        )


def alerts_processor(members: Members) -> str:
    """The tradingview-alerts-processor: sizes are in the quote currency, and only a percentage closes a part.

    Raises:
        BadPayload: a mode or a budget that is not known here.
    """
    mode = plain_name(members.text("mode"))
    if mode not in ("", "reverse", "overflow"):
        raise BadPayload(f"the mode {mode[:40]} is not known here", code="FIELD_UNSUPPORTED", field="mode")
    if not is_nothing(members.peek("max")):
        raise BadPayload(
            "max, a budget in the alert, is not known here: set the webhook's largest amount instead", code="FIELD_UNSUPPORTED", field="max"
        )
    direction = plain_name(members.text("direction"))
    size = members.peek("size")
    is_percent = isinstance(size, str) and size.strip().endswith("%")
    if direction == "close" and not is_percent:
        members.drop("size")
    elif direction != "close" and not is_percent and not is_nothing(size):
        _rename(members, "size", "notional")
    if mode and direction == "short":
        members.put("direction", "reverse")
        members.put("side", "short")
    members.take("stub")
    return "alerts-processor"


def platform_of(members: Members) -> Callable[[Members], str] | None:
    """Return the adapter of the platform whose message this is; None for our own members."""
    for adapter, names in _SIGNS:
        if all(name in members for name in names):
            return adapter
    code = members.peek("code")
    if isinstance(code, str) and (
        WUNDER_CODE.fullmatch(code.strip()) or plain_name(code) in _WUNDER_ACTIONS or "amountpertrade" in members
    ):
        return wunder_trading
    if members.has("quantitytype", "signalprice", "sentiment") or any(
        isinstance(members.peek(name), dict) for name in ("takeprofit", "stoploss")
    ):
        return traders_post
    return None


_SIGNS: Final[tuple[tuple[Callable[[Members], str], tuple[str, ...]], ...]] = (
    (three_commas_bot, ("messagetype", "botid")),
    (three_commas_signal, ("botuuid",)),
    (three_commas_signal, ("tvinstrument",)),
    (okx, ("signaltoken",)),
    (okx, ("investmenttype", "instrument")),
    (alerts_processor, ("stub", "direction")),
)


def _counted(members: Members, kind_name: str, amount_name: str, kinds: dict[str, str], platform: str) -> None:
    """Give an amount the name of what it is counted in."""
    kind = plain_name(members.text(kind_name))
    if not kind:
        return
    if is_nothing(members.peek(amount_name)) and not isinstance(members.peek(amount_name), Decimal):
        return
    if kind not in kinds:
        raise _unknown_count(platform, kind_name, kind)
    _rename(members, amount_name, kinds[kind])


def _rename(members: Members, name: str, to: str) -> None:
    if plain_name(to) != name:
        value = members.take(name)
        members.drop(name)
        members.put(plain_name(to), value)


def _unknown_count(platform: str, name: str, kind: str) -> BadPayload:
    return BadPayload(
        f"{platform}'s {name} {kind[:40] or 'is missing'} has no meaning here: it counts in contracts, or in shares of a bot elsewhere;"
        " send quantity, notional, percent or equity_percent",
        code="SIZE_UNSUPPORTED",
        field=name,
    )
