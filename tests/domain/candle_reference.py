"""A second reading of the rules of a simulated candle, in Decimals and the other way round: events of a candle first, then what they do.

Nothing of `app.domain.simulation` is used but its words, so that a mistake would have to be made twice.
"""

from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from app.domain.arrays import EXIT, LONG, SHORT, Candles, Decisions
from app.domain.simulation import SimulationCosts

D = Decimal
ONE, ZERO = D(1), D(0)


def exact(value: float) -> Decimal:
    return D(repr(float(value)))


@dataclass
class ReferenceFill:
    candle: int
    side: int
    quantity: Decimal
    price: Decimal
    reason: str


@dataclass
class Reference:
    """Walks through candles; `fills`, `equity` and `denied` are what is compared."""

    candles: Candles
    decisions: Decisions
    costs: SimulationCosts
    fills: list[ReferenceFill] = field(default_factory=list)
    equity: list[Decimal] = field(default_factory=list)
    denied: int = 0

    def run(self) -> "Reference":
        self.cash, self.held = exact(self.costs.capital), ZERO
        self.levels: dict[str, Decimal] = {}
        waiting: int | None = None
        for row in range(len(self.candles)):
            open_, high, low, close = (exact(getattr(self.candles, name)[row]) for name in ("open", "high", "low", "close"))
            if waiting is not None:
                self._fill_waiting(row, waiting, open_)
                waiting = None
            if self.held:
                self._levels_reached(row, open_, high, low)
            flags = int(self.decisions.flags[row])
            if self.held:
                self._move(row)
                if flags & EXIT or self._said("adjust", row):
                    waiting = row
            elif flags & (LONG | SHORT):
                waiting = row
            self.equity.append(self.cash + self.held * close)
        return self

    def _said(self, column: str, row: int) -> Decimal | None:
        value = float(getattr(self.decisions, column)[row])
        return None if value != value else exact(value)

    def _fill_waiting(self, row: int, decided: int, open_: Decimal) -> None:
        flags = int(self.decisions.flags[decided])
        adjust = self._said("adjust", decided)
        if self.held and flags & EXIT:
            self._leave(row, open_, "exit", is_market=True)
        elif self.held and adjust:
            self._resize(row, open_, adjust)
        if not self.held and flags & (LONG | SHORT):
            self._enter(row, decided, open_, ONE if flags & LONG else -ONE)

    def _enter(self, row: int, decided: int, open_: Decimal, side: Decimal) -> None:
        price = self._slipped(open_, side)
        share = self._said("size", decided)
        budget = self.cash * (ONE if share is None else min(share, ONE))
        quantity = self._whole_steps(budget / (price * (1 + exact(self.costs.fee))))
        if quantity <= 0 or quantity * price < exact(self.costs.least_notional):
            self.denied += 1
            return
        self._book(row, side, quantity, price, "entry", exact(self.costs.fee))
        stops = [value for value in (self._said("stop", decided),) if value is not None]
        if (loss := self._said("stop_loss", decided)) is not None:
            stops.append(price * (1 - side * loss))
        if stops:
            self.levels["stop"] = self._tick(max(stops) if side > 0 else min(stops), up=side < 0)
        target, profit = self._said("target", decided), self._said("take_profit", decided)
        if target is None and profit is not None:
            target = price * (1 + side * profit)
        if target is not None:
            self.levels["target"] = self._tick(target, up=side > 0)
        if (trailing := self._said("trailing", decided)) is not None:
            self.levels["trailing"] = trailing
        self.levels["best"] = price

    def _resize(self, row: int, open_: Decimal, fraction: Decimal) -> None:
        side = ONE if self.held > 0 else -ONE
        if fraction <= -1:
            self._leave(row, open_, "exit", is_market=True)
            return
        way = side if fraction > 0 else -side
        price = self._slipped(open_, way)
        wanted = abs(self.held * fraction)
        if fraction > 0:
            equity = self.cash + self.held * price
            wanted = min(wanted, (equity - abs(self.held) * price) / (price * (1 + exact(self.costs.fee))))
        quantity = self._whole_steps(wanted)
        if quantity <= abs(self.held) * D("1e-9") or quantity * price < exact(self.costs.least_notional):
            self.denied += 1
            return
        self._book(row, way, quantity, price, "add" if fraction > 0 else "reduce", exact(self.costs.fee))

    def _levels_reached(self, row: int, open_: Decimal, high: Decimal, low: Decimal) -> None:
        """Turn a short's candle upside down, so that the rules need telling once."""
        side = ONE if self.held > 0 else -ONE
        stops = [(self.levels[name], reason) for name, reason in (("stop", "stop"),) if name in self.levels]
        if "trailing" in self.levels:
            best, distance = self.levels["best"], self.levels["trailing"]
            stops.append((self._tick(best * (1 - side * distance), up=side < 0), "trailing"))
        if side < 0:
            stops.insert(0, (self.cash / -self.held, "liquidation"))
        nearest = max(stops, key=lambda each: side * each[0]) if stops else None
        best_end, worst_end = (high, low) if side > 0 else (low, high)
        target = self.levels.get("target")
        if nearest and side * (nearest[0] - open_) >= 0:
            self._leave(row, open_, nearest[1], is_market=True)
        elif target is not None and side * (open_ - target) > 0:
            self._leave(row, open_, "target", is_market=False)
        elif nearest and side * (nearest[0] - worst_end) >= 0:
            self._leave(row, nearest[0], nearest[1], is_market=True)
        elif target is not None and side * (best_end - target) > 0:
            self._leave(row, target, "target", is_market=False)
        else:
            self.levels["best"] = max(self.levels["best"], high) if side > 0 else min(self.levels["best"], low)

    def _move(self, row: int) -> None:
        side = ONE if self.held > 0 else -ONE
        if (stop := self._said("stop", row)) is not None:
            stop = self._tick(stop, up=side < 0)
            known = self.levels.get("stop")
            self.levels["stop"] = stop if known is None else max(known, stop) if side > 0 else min(known, stop)
        if (target := self._said("target", row)) is not None:
            self.levels["target"] = self._tick(target, up=side > 0)
        if (trailing := self._said("trailing", row)) is not None:
            self.levels["trailing"] = trailing

    def _leave(self, row: int, price: Decimal, reason: str, *, is_market: bool) -> None:
        side = -ONE if self.held > 0 else ONE
        rate = exact(self.costs.fee) if is_market else exact(self.costs.maker_fee)
        self._book(row, side, abs(self.held), self._slipped(price, side) if is_market else price, reason, rate)
        self.levels = {}

    def _book(self, row: int, side: Decimal, quantity: Decimal, price: Decimal, reason: str, rate: Decimal) -> None:
        self.cash -= side * quantity * price + quantity * price * rate
        self.held += side * quantity
        if abs(self.held) < D("1e-20"):
            self.held = ZERO
        self.fills.append(ReferenceFill(row, int(side), quantity, price, reason))

    def _slipped(self, price: Decimal, side: Decimal) -> Decimal:
        return self._tick(price * (1 + side * exact(self.costs.slippage)), up=side > 0)

    def _tick(self, price: Decimal, *, up: bool) -> Decimal:
        tick = exact(self.costs.tick)
        return price if not tick else (price / tick).to_integral_value(ROUND_CEILING if up else ROUND_FLOOR) * tick

    def _whole_steps(self, quantity: Decimal) -> Decimal:
        step = exact(self.costs.step)
        return quantity if not step else (quantity / step).to_integral_value(ROUND_FLOOR) * step
