"""What a webhook's owner lets its alerts do: the bounds of `HookRules`, each with its code and a sentence. Pure."""

import re
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from app.domain.enums import Side
from app.domain.instruments import Instrument, plain
from app.errors import DenialReason, OrderDenied
from app.webhooks.rules import HookRules, Hours

_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_BETWEEN: Final = re.compile(r"[\s/_-]+")


def letters(symbol: str) -> str:
    """Return a symbol's letters alone: the same for every spelling of one symbol (`BTC/USDT`, `btcusdt`, `BINANCE:BTC-USDT`)."""
    name = symbol.strip().upper()
    exchange, colon, rest = name.partition(":")
    return _BETWEEN.sub("", rest if colon and "/" not in exchange else name)


def check_symbol(rules: HookRules, symbol: str) -> None:
    """Refuse a symbol that the webhook does not trade.

    Raises:
        OrderDenied: HOOK_SYMBOL.
    """
    if rules.symbols is not None and letters(symbol) not in {letters(each) for each in rules.symbols}:
        allowed = ", ".join(rules.symbols[:5]) + ("…" if len(rules.symbols) > 5 else "")
        raise OrderDenied(DenialReason.HOOK_SYMBOL, f"this webhook trades {allowed} only, the alert is for {symbol}", field="symbol")


def check_side(rules: HookRules, side: Side) -> None:
    """Refuse a side that the webhook does not trade, for whatever purpose.

    Raises:
        OrderDenied: HOOK_SIDE.
    """
    if rules.sides is not None and side.value not in rules.sides:
        raise OrderDenied(DenialReason.HOOK_SIDE, f"this webhook sends no {side} orders", field="action")


def check_hours(rules: HookRules, now: datetime) -> None:
    """Refuse to open anything outside the webhook's hours.

    Raises:
        OrderDenied: HOOK_HOURS.
    """
    if rules.hours is None or _is_within(rules.hours, now):
        return
    days = ", ".join(_DAYS[day] for day in sorted(set(rules.hours.days)))
    raise OrderDenied(
        DenialReason.HOOK_HOURS,
        f"this webhook opens positions on {days} from {rules.hours.start:%H:%M} to {rules.hours.end:%H:%M} UTC only, it is {now:%A %H:%M}",
    )


def _is_within(hours: Hours, now: datetime) -> bool:
    """Whether `now` (UTC) lies in one of the days' hours; those that end before they start end a day later."""
    at = now.time()
    if hours.start < hours.end:
        return now.weekday() in hours.days and hours.start <= at < hours.end
    yesterday = (now - timedelta(days=1)).weekday()
    return (now.weekday() in hours.days and at >= hours.start) or (yesterday in hours.days and at < hours.end)


def check_notional(rules: HookRules, cost: Decimal | None, usdt: Decimal | None, instrument: Instrument) -> None:
    """Refuse to open or enlarge a position by more than the webhook allows for one order, in USDT.

    Args:
        rules: The webhook's.
        cost: The most that the order can cost, in quote; None when nobody knows.
        usdt: What one unit of quote is worth; None when nobody knows.
        instrument: The instrument.

    Raises:
        OrderDenied: HOOK_NOTIONAL, or VALUE_UNKNOWN: a bound that cannot be checked lets nothing pass.
    """
    most = rules.max_notional
    if most is None:
        return
    if cost is None or usdt is None:
        raise OrderDenied(
            DenialReason.VALUE_UNKNOWN,
            f"the order has no price in USDT now ({instrument.symbol}), so the webhook's limit of {plain(most)} USDT cannot be checked",
        )
    if cost * usdt > most:
        raise OrderDenied(
            DenialReason.HOOK_NOTIONAL,
            f"the order may cost {plain(round(cost * usdt, 2))} USDT, this webhook allows {plain(most)} USDT for one",
            field="quantity",
        )
