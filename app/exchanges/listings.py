"""ccxt's markets as our instruments, with exact decimals. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from app.domain.instruments import Instrument

#: ccxt precision modes: 2 counts decimals, 3 counts significant digits, 4 is a step (ccxt.base.decimal_to_precision).
_DECIMAL_PLACES: Final = 2
_TICK_SIZE: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One symbol as a venue lists it: our rules, the kind of market, and the venue's own description."""

    instrument: Instrument
    type: str
    raw_info: dict[str, Any]


def spot_listings(markets: Mapping[str, Mapping[str, Any]], *, precision_mode: int) -> Iterator[Listing]:
    """Yield the spot symbols whose tick and step can be told; a symbol without them cannot be traded safely and is left out."""
    for market in markets.values():
        if not market.get("spot"):
            continue
        instrument = _instrument(market, precision_mode)
        if instrument is not None:
            info = market.get("info")
            yield Listing(instrument=instrument, type="spot", raw_info=dict(info) if isinstance(info, Mapping) else {})


def _instrument(market: Mapping[str, Any], precision_mode: int) -> Instrument | None:
    filters = _filters(market)
    price, lot = filters.get("PRICE_FILTER", {}), filters.get("LOT_SIZE", {})
    notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL") or {}
    precision, limits = market.get("precision") or {}, market.get("limits") or {}
    tick = _positive(price.get("tickSize")) or _step(precision.get("price"), precision_mode)
    step = _positive(lot.get("stepSize")) or _step(precision.get("amount"), precision_mode)
    if tick is None or step is None:
        return None
    return Instrument(
        symbol=str(market["symbol"]),
        base=str(market["base"]),
        quote=str(market["quote"]),
        tick_size=tick,
        step_size=step,
        min_quantity=_positive(lot.get("minQty")) or _limit(limits, "amount", "min"),
        max_quantity=_positive(lot.get("maxQty")) or _limit(limits, "amount", "max"),
        min_price=_positive(price.get("minPrice")) or _limit(limits, "price", "min"),
        max_price=_positive(price.get("maxPrice")) or _limit(limits, "price", "max"),
        min_notional=_positive(notional.get("minNotional")) or _limit(limits, "cost", "min"),
        max_notional=_positive(notional.get("maxNotional")) or _limit(limits, "cost", "max"),
        max_market_quantity=_positive(filters.get("MARKET_LOT_SIZE", {}).get("maxQty")),
        **_bands(filters),
        is_active=market.get("active") is not False,
    )


def _bands(filters: Mapping[str, Mapping[str, Any]]) -> dict[str, Decimal | None]:
    """How far a limit price may be from the market's, as ratios: one pair for both sides, or one for each."""
    both, by_side = filters.get("PERCENT_PRICE", {}), filters.get("PERCENT_PRICE_BY_SIDE", {})
    return {
        f"{side}_{bound}_ratio": _positive(by_side.get(f"{own}Multiplier{way}")) or _positive(both.get(f"multiplier{way}"))
        for side, own in (("buy", "bid"), ("sell", "ask"))
        for bound, way in (("min", "Down"), ("max", "Up"))
    }


def _filters(market: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    info = market.get("info")
    listed = info.get("filters") if isinstance(info, Mapping) else None
    if not isinstance(listed, list):
        return {}
    return {str(entry.get("filterType")): entry for entry in listed if isinstance(entry, Mapping)}


def _limit(limits: Mapping[str, Any], name: str, bound: str) -> Decimal | None:
    return _positive((limits.get(name) or {}).get(bound))


def _step(value: object, precision_mode: int) -> Decimal | None:
    if value is None:
        return None
    if precision_mode == _TICK_SIZE:
        return _positive(value)
    if precision_mode == _DECIMAL_PLACES:
        return Decimal(1).scaleb(-int(str(value)))
    return None  # significant digits are no step


def _positive(value: object) -> Decimal | None:
    """Zero means that the venue sets no such bound."""
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() and number > 0 else None
