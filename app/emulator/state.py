"""What one venue holds in memory, shared by those who change it: admission reads it, settlement and order lists write it."""

from collections.abc import Callable, Mapping
from decimal import Decimal

from app.domain.fees import FeeRates
from app.domain.matching import MatchingEngine
from app.emulator.changes import Listener, Publisher
from app.emulator.errors import VenueError
from app.emulator.ledger import ZERO, Account, OrderRecord
from app.emulator.market import SymbolMarket


class ExchangeState:
    """Accounts, orders, engines and counters. `wall_ms` returns the wall's time."""

    def __init__(self, markets: Mapping[str, SymbolMarket], *, fees: FeeRates, wall_ms: Callable[[], int]) -> None:
        self.markets = markets
        self.fees = fees
        self.wall_ms = wall_ms
        self.accounts: dict[str, Account] = {}
        self.orders: dict[int, OrderRecord] = {}
        self.engines = {symbol: MatchingEngine(step_size=market.rules.step_size) for symbol, market in markets.items()}
        self.pairs: dict[str, list[OrderRecord]] = {}
        """The legs of each OCO that is in the book, by its name."""
        self.rule_changes: dict[str, dict[str, object]] = {}
        """What was changed in the rules of a symbol since the venue was put together."""
        self.publisher = Publisher()
        self.last_order_id = 0
        self.last_execution_id = 0
        self.last_list_id = 0
        self.last_amendment_id = 0
        self.changes = 0
        """Counts every change of state, so that the snapshot knows when there is something to write."""

    @property
    def listeners(self) -> list[Listener]:
        """Who is told of every change; add and remove freely."""
        return self.publisher.listeners

    def market(self, symbol: str) -> SymbolMarket:
        """Return a listed symbol's market.

        Raises:
            VenueError: -1121.
        """
        market = self.markets.get(symbol)
        if market is None:
            raise VenueError.bad_symbol()
        return market

    def legs(self, order: OrderRecord) -> list[OrderRecord]:
        """Return the orders that hold funds together with `order`: both legs of its OCO, or itself alone."""
        return self.pairs.get(order.oco, [order]) if order.oco else [order]

    def hold(self, order: OrderRecord) -> Decimal:
        """Let an order or its pair hold what its open remainder needs; return by how much that is more than before."""
        legs = self.legs(order)
        held, holder = sum((leg.held for leg in legs), ZERO), max(legs, key=lambda leg: leg.wanted)
        for leg in legs:
            leg.held = ZERO
        holder.held = holder.wanted
        return holder.held - held
