"""OctoBot's text alerts (`SYMBOL=…;SIGNAL=BUY;VOLUME=45q;PRICE=-3%`), said in our members.

Source: OctoBot docs, tradingview/alert-format.md, order-amount-syntax.md and order-price-syntax.md. Its percentages of prices are off the
current price; ours are off the entry, so they are converted where the entry is off the current price too.
"""

from decimal import Decimal
from typing import Any, Final

from app.errors import BadPayload
from app.webhooks.reading.members import Members, plain_name
from app.webhooks.reading.numbers import is_nothing, read_amount, read_number

_STEM: Final = "takeprofitprice"
_RATIO: Final = "takeprofitvolumeratio"
_EXACT: Final = Decimal("0.0001")


def octobot(members: Members) -> str:
    """Say an OctoBot alert in our members.

    Raises:
        BadPayload: a price, amount or way of canceling that is not known here.
    """
    signal = plain_name(members.text("signal"))
    if signal == "cancel" and members.has("tag", "paramside"):
        raise BadPayload(
            "only all orders of a symbol can be canceled, not those of one side or tag", code="FIELD_UNSUPPORTED", field="signal"
        )
    kind = plain_name(members.text("ordertype"))
    if kind == "stop":
        raise BadPayload(
            "an order that waits for a stop price is not known here: send action=maj with stop_loss to guard the open position",
            code="TYPE_UNKNOWN",
            field="order_type",
        )
    entry = _entry_offset(members, kind)
    name, stop = members.take_named("stopprice")
    if not is_nothing(stop):
        members.put("stopprice", _off_entry(stop, name, entry, is_stop=True))
    _targets(members, entry)
    members.take("token")
    return "octobot"


def _entry_offset(members: Members, kind: str) -> Decimal | None:
    """How far off the current price the entry is; None for a fixed limit price, of which that cannot be known."""
    price = members.peek("price")
    if kind != "limit" or is_nothing(price):
        return Decimal(0)
    amount = read_amount(price, "price")
    return amount.value / 100 if amount.unit == "%" else None


def _off_entry(value: Any, field: str, entry: Decimal | None, *, is_stop: bool) -> Any:
    amount = read_amount(value, field)
    if amount.unit != "%":
        return value
    if (amount.value < 0) is not is_stop:
        where = "below" if is_stop else "above"
        raise BadPayload(f"{field} of a long position lies {where} the entry, was {value}", code="PROTECTION_INVALID", field=field)
    if entry is None:
        raise BadPayload(
            f"{field} is a percentage of the current price beside a fixed limit price; write it as a price",
            code="PROTECTION_INVALID",
            field=field,
        )
    if entry <= -1:
        raise BadPayload(f"the price is too far from the market, was {entry * 100} percent", code="PRICE_INVALID", field="price")
    off = (((1 + amount.value / 100) / (1 + entry) - 1) * 100).quantize(_EXACT)
    if (off < 0) is not is_stop:
        raise BadPayload(f"{field} lies on the wrong side of the entry, was {value}", code="PROTECTION_INVALID", field=field)
    return f"{off}%"


def _targets(members: Members, entry: Decimal | None) -> None:
    first = members.take_named(_STEM)
    found = [first] if not is_nothing(first[1]) else []
    numbered = list(members.numbered(_STEM))
    found += [(name, value) for _, name, value in numbered if not is_nothing(value)]
    if not found:
        return
    ratios = [read_number(value, name) for _, name, value in members.numbered(_RATIO) if not is_nothing(value)]
    alone = members.take(_RATIO)
    if not is_nothing(alone):
        ratios.insert(0, read_number(alone, "take_profit_volume_ratio"))
    parts = _parts(ratios, len(found)) if ratios else [None] * len(found)
    targets = []
    for (name, value), part in zip(found, parts, strict=True):
        off = _off_entry(value, name, entry, is_stop=False)
        key = "percent" if str(off).endswith("%") else "price"
        targets.append({key: off} if part is None else {key: off, "fraction": part})
    members.drop(_STEM, *(f"{_STEM}{number}" for number, _, _ in numbered))
    members.put("targets", targets)


def _parts(ratios: list[Decimal], number: int) -> list[Decimal | None]:
    total = sum(ratios, Decimal(0))
    if len(ratios) != number or any(ratio <= 0 for ratio in ratios):
        raise BadPayload(
            "every take profit needs its ratio above zero, or none has one", code="PROTECTION_INVALID", field="take_profit_volume_ratio"
        )
    parts: list[Decimal | None] = [(ratio / total).quantize(_EXACT) for ratio in ratios[:-1]]
    return [*parts, 1 - sum((part for part in parts if part is not None), Decimal(0))]
