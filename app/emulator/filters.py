"""A symbol's trading rules: what exchangeInfo tells and what an order is checked against.

Source: Binance Spot API documentation, filters.md; numbers of well-known symbols from the exchange's own exchangeInfo.
"""

from dataclasses import dataclass
from decimal import Decimal

from app.emulator.errors import VenueError
from app.errors import ConfigError

ORDER_TYPES = ("LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT")
QUOTES = ("USDT", "USDC", "FDUSD", "TUSD", "BUSD", "DAI", "USD", "EUR", "TRY", "BRL", "GBP", "BTC", "ETH", "BNB")

# symbol: decimals of price, decimals of quantity
KNOWN_DECIMALS = {
    "BTCUSDT": (2, 5),
    "ETHUSDT": (2, 4),
    "BNBUSDT": (2, 3),
    "SOLUSDT": (2, 3),
    "XRPUSDT": (4, 0),
    "ADAUSDT": (4, 1),
    "DOGEUSDT": (5, 0),
    "AVAXUSDT": (2, 2),
    "LINKUSDT": (2, 2),
    "LTCUSDT": (2, 3),
    "DOTUSDT": (3, 2),
    "TRXUSDT": (4, 1),
}

_MAX_PRICE_MULTIPLE = Decimal(5)
_MIN_PRICE_MULTIPLE = Decimal("0.2")
_MIN_TRAILING_DELTA = 10
_MAX_TRAILING_DELTA = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolRules:
    """Trading rules. Prices in quote per base, quantities in base, notionals in quote units."""

    symbol: str
    base: str
    quote: str
    tick_size: Decimal
    step_size: Decimal
    min_price: Decimal
    max_price: Decimal
    min_quantity: Decimal
    max_quantity: Decimal
    max_market_quantity: Decimal
    min_notional: Decimal
    max_notional: Decimal
    status: str = "TRADING"

    @property
    def is_trading(self) -> bool:
        """Whether orders are taken and matched."""
        return self.status == "TRADING"

    def check_trading(self) -> None:
        """Refuse what a closed market does not take.

        Raises:
            VenueError: -1013.
        """
        if not self.is_trading:
            raise VenueError(-1013, "Market is closed.")

    def check_price(self, price: Decimal, last_price: Decimal) -> None:
        """Refuse a price off the grid or far from the market.

        Raises:
            VenueError: -1013 PRICE_FILTER or PERCENT_PRICE_BY_SIDE.
        """
        if not self.min_price <= price <= self.max_price or price % self.tick_size:
            raise VenueError.filter_failure("PRICE_FILTER")
        if not last_price * _MIN_PRICE_MULTIPLE <= price <= last_price * _MAX_PRICE_MULTIPLE:
            raise VenueError.filter_failure("PERCENT_PRICE_BY_SIDE")

    def check_trigger_price(self, price: Decimal) -> None:
        """Refuse a stop price off the grid.

        Raises:
            VenueError: -1013 PRICE_FILTER.
        """
        if not self.min_price <= price <= self.max_price or price % self.tick_size:
            raise VenueError.filter_failure("PRICE_FILTER")

    def check_trailing_delta(self, bips: int) -> None:
        """Refuse a trailing delta outside of the bounds, which here are the same above and below the market.

        Raises:
            VenueError: -1013 TRAILING_DELTA.
        """
        if not _MIN_TRAILING_DELTA <= bips <= _MAX_TRAILING_DELTA:
            raise VenueError.filter_failure("TRAILING_DELTA")

    def check_quantity(self, quantity: Decimal) -> None:
        """Refuse a quantity off the grid.

        Raises:
            VenueError: -1013 LOT_SIZE.
        """
        if not self.min_quantity <= quantity <= self.max_quantity or quantity % self.step_size:
            raise VenueError.filter_failure("LOT_SIZE")

    def check_market_quantity(self, quantity: Decimal) -> None:
        """Refuse a market quantity above the smaller bound for market orders.

        Raises:
            VenueError: -1013 MARKET_LOT_SIZE.
        """
        if quantity > self.max_market_quantity:
            raise VenueError.filter_failure("MARKET_LOT_SIZE")

    def check_notional(self, notional: Decimal, *, is_market: bool) -> None:
        """Refuse an order worth too little, or, unless it is a market order, too much.

        Raises:
            VenueError: -1013 NOTIONAL.
        """
        if notional < self.min_notional or (notional > self.max_notional and not is_market):
            raise VenueError.filter_failure("NOTIONAL")

    def describe(self) -> dict[str, object]:
        """Return the symbol's entry in exchangeInfo."""
        return {
            "symbol": self.symbol,
            "status": self.status,
            "baseAsset": self.base,
            "baseAssetPrecision": 8,
            "quoteAsset": self.quote,
            "quotePrecision": 8,
            "quoteAssetPrecision": 8,
            "baseCommissionPrecision": 8,
            "quoteCommissionPrecision": 8,
            "orderTypes": list(ORDER_TYPES),
            "icebergAllowed": False,
            "ocoAllowed": True,
            "otoAllowed": True,
            "opoAllowed": False,
            "quoteOrderQtyMarketAllowed": True,
            "allowTrailingStop": True,
            "cancelReplaceAllowed": True,
            "amendAllowed": True,
            "pegInstructionsAllowed": False,
            "isSpotTradingAllowed": True,
            "isMarginTradingAllowed": False,
            "filters": self._filters(),
            "permissions": [],
            "permissionSets": [["SPOT"]],
            "defaultSelfTradePreventionMode": "NONE",
            "allowedSelfTradePreventionModes": ["NONE"],
        }

    def _filters(self) -> list[dict[str, object]]:
        return [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": eight(self.min_price),
                "maxPrice": eight(self.max_price),
                "tickSize": eight(self.tick_size),
            },
            {
                "filterType": "LOT_SIZE",
                "minQty": eight(self.min_quantity),
                "maxQty": eight(self.max_quantity),
                "stepSize": eight(self.step_size),
            },
            {
                "filterType": "MARKET_LOT_SIZE",
                "minQty": "0.00000000",
                "maxQty": eight(self.max_market_quantity),
                "stepSize": "0.00000000",
            },
            {
                "filterType": "PERCENT_PRICE_BY_SIDE",
                "bidMultiplierUp": f"{_MAX_PRICE_MULTIPLE}",
                "bidMultiplierDown": f"{_MIN_PRICE_MULTIPLE}",
                "askMultiplierUp": f"{_MAX_PRICE_MULTIPLE}",
                "askMultiplierDown": f"{_MIN_PRICE_MULTIPLE}",
                "avgPriceMins": 0,
            },
            {
                "filterType": "TRAILING_DELTA",
                "minTrailingAboveDelta": _MIN_TRAILING_DELTA,
                "maxTrailingAboveDelta": _MAX_TRAILING_DELTA,
                "minTrailingBelowDelta": _MIN_TRAILING_DELTA,
                "maxTrailingBelowDelta": _MAX_TRAILING_DELTA,
            },
            {
                "filterType": "NOTIONAL",
                "minNotional": eight(self.min_notional),
                "applyMinToMarket": True,
                "maxNotional": eight(self.max_notional),
                "applyMaxToMarket": False,
                "avgPriceMins": 0,
            },
        ]


def eight(value: Decimal) -> str:
    """Return a number as Binance writes it: plain text with eight decimals."""
    return f"{value:.8f}"


def split_symbol(symbol: str) -> tuple[str, str]:
    """Return (base, quote) of a name like BTCUSDT.

    Raises:
        ConfigError: no known quote asset ends it.
    """
    for quote in QUOTES:
        if symbol.endswith(quote) and len(symbol) > len(quote):
            return symbol.removesuffix(quote), quote
    raise ConfigError(f"the quote asset of {symbol} is not one of {', '.join(QUOTES)}")


def rules_for(symbol: str, *, price_decimals: int, quantity_decimals: int, price: Decimal) -> SymbolRules:
    """Return the rules of a symbol.

    The price grid is the finer of the well-known one and what the data shows, so that no recorded price is off it. The quantity grid of a
    well-known symbol is kept: a tape may print finer than the exchange takes orders today.
    """
    base, quote = split_symbol(symbol)
    known = KNOWN_DECIMALS.get(symbol)
    tick = Decimal(1).scaleb(-min(8, max(price_decimals, known[0] if known else 0)))
    step = Decimal(1).scaleb(-min(8, known[1] if known else quantity_decimals))
    # About 5 of a dollar-like quote, and as little in coins, whose unit is worth more.
    min_notional = {"BTC": Decimal("0.0001"), "ETH": Decimal("0.001"), "BNB": Decimal("0.01")}.get(quote, Decimal(5))
    largest = max(step, (min_notional * 100_000_000 / price // step) * step)
    return SymbolRules(
        symbol=symbol,
        base=base,
        quote=quote,
        tick_size=tick,
        step_size=step,
        min_price=tick,
        max_price=Decimal(1_000_000),
        min_quantity=step,
        max_quantity=largest,
        max_market_quantity=max(step, (largest / 80 // step) * step),
        min_notional=min_notional,
        max_notional=min_notional * 1_800_000,
    )
