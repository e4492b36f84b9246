"""A second reading of the rules of a simulated candle, in Decimals and the other way round: events of a candle first, then what they do.

Nothing of `app.domain.simulation` is used but its words, so that a mistake would have to be made twice.
"""

from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from itertools import pairwise

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
class Target:
    """One of three: its price, what part of all that was entered it is for, and how much it still wants."""

    price: Decimal | None = None
    part: Decimal | None = None
    wants: Decimal | None = None
    is_over: bool = False
    silent_in: int = -1
    new_in: int = -1


@dataclass
class Reference:
    """Walks through candles; `fills`, `equity`, `denied`, `capped`, `missed` and `funding` are what is compared."""

    candles: Candles
    decisions: Decisions
    costs: SimulationCosts
    detail: Candles | None = None
    fills: list[ReferenceFill] = field(default_factory=list)
    equity: list[Decimal] = field(default_factory=list)
    denied: int = 0
    capped: int = 0
    missed: int = 0
    funding: Decimal = ZERO
    resting: tuple[int, Decimal, Decimal] | None = None

    def run(self) -> "Reference":
        self.cash, self.held = exact(self.costs.capital), ZERO
        self._flat()
        waiting: int | None = None
        for row in range(len(self.candles)):
            self.row = row
            open_, high, low, close = (exact(getattr(self.candles, name)[row]) for name in ("open", "high", "low", "close"))
            self._pay(open_)
            if self.leaving:
                self._leave(open_, self.leaving)
            elif waiting is not None:
                self._fill_waiting(waiting, open_)
            waiting = None
            for part in self._parts_of(row) or [(open_, high, low, close)]:
                self._pass(*part)
            if self.resting is not None:
                self.resting = None
                self.missed += 1
            flags = int(self.decisions.flags[row])
            if self.held and not self.leaving:
                self._move()
                if flags & EXIT or self._said("adjust", row):
                    waiting = row
            elif not self.held and flags & (LONG | SHORT):
                waiting = row
            self.equity.append(self.cash + self.held * close)
        return self

    def _flat(self) -> None:
        self.levels: dict[str, Decimal] = {}
        self.targets = [Target(), Target(), Target()]
        self.leaving = ""
        self.entered = ZERO
        self.resting = None

    def _parts_of(self, row: int) -> list[tuple[Decimal, Decimal, Decimal, Decimal]]:
        """Return the shorter candles in a candle, if they tell all of it."""
        if self.detail is None:
            return []
        times, detail = self.candles.time.tolist(), self.detail
        length = min(after - before for before, after in pairwise(times))
        inside = [place for place, time in enumerate(detail.time.tolist()) if times[row] <= time < times[row] + length]
        if not inside or detail.low[inside].min() > self.candles.low[row] or detail.high[inside].max() < self.candles.high[row]:
            return []
        columns = (detail.open, detail.high, detail.low, detail.close)
        return [(exact(a), exact(b), exact(c), exact(d)) for a, b, c, d in zip(*(column[inside] for column in columns), strict=True)]

    def _said(self, column: str, row: int) -> Decimal | None:
        value = float(getattr(self.decisions, column)[row])
        return None if value != value else exact(value)

    def _pay(self, open_: Decimal) -> None:
        """Count the funding moments one by one."""
        if not self.held or not self.row or not self.costs.funding_rate:
            return
        before, now = int(self.candles.time[self.row - 1]), int(self.candles.time[self.row])
        moments = sum(before < moment <= now for moment in range(0, now + 1, 8 * 3_600_000))
        payment = self.held * open_ * exact(self.costs.funding_rate) * moments
        self.cash -= payment
        self.funding += payment

    def _most(self) -> Decimal | None:
        if not self.costs.volume_share:
            return None
        return self._whole_steps(exact(self.candles.volume[self.row]) * exact(self.costs.volume_share))

    def _cut(self, wanted: Decimal, *, is_new: bool = True) -> Decimal:
        """Return what there is of what is wanted, counting an order once where it is less."""
        most = self._most()
        if most is None or most >= wanted:
            return wanted
        self.capped += is_new
        return most

    def _fill_waiting(self, decided: int, open_: Decimal) -> None:
        flags = int(self.decisions.flags[decided])
        adjust = self._said("adjust", decided)
        if self.held and flags & EXIT:
            self._leave(open_, "exit")
        elif self.held:
            if adjust:
                self._resize(open_, adjust)
            return
        if self.held or not flags & (LONG | SHORT):
            return
        side = ONE if flags & LONG else -ONE
        limit = self._said("limit", decided)
        if limit is None:
            self._enter(decided, side, self._slipped(open_, side), exact(self.costs.fee))
            return
        limit = self._tick(limit, up=side < 0)
        if side * open_ > side * limit:
            self.resting = (decided, side, limit)
        else:
            price = min(limit * side, self._slipped(open_, side) * side) * side
            self._enter(decided, side, price, exact(self.costs.fee))

    def _enter(self, decided: int, side: Decimal, price: Decimal, rate: Decimal) -> None:
        share = self._said("size", decided)
        budget = self.cash * (ONE if share is None else min(share, ONE))
        wanted = self._whole_steps(budget / (price * (1 + rate))) if price > 0 else ZERO
        most = self._most()
        quantity = wanted if most is None else min(wanted, most)
        if quantity <= 0 or quantity * price < exact(self.costs.least_notional):
            self.denied += 1
            return
        self._cut(wanted)
        self._book(side, quantity, price, "entry", rate)
        stops = [value for value in (self._said("stop", decided),) if value is not None]
        if (loss := self._said("stop_loss", decided)) is not None:
            stops.append(price * (1 - side * loss))
        if stops:
            self.levels["stop"] = self._tick(max(stops) if side > 0 else min(stops), up=side < 0)
        for target, number in zip(self.targets, ("", "_2", "_3"), strict=True):
            said, profit = self._said(f"target{number}", decided), self._said(f"take_profit{number}", decided)
            if said is None and profit is not None:
                said = price * (1 + side * profit)
            target.price = None if said is None else self._tick(said, up=side > 0)
            target.part = self._said(f"part{number}", decided)
            target.new_in = self.row
        if (trailing := self._said("trailing", decided)) is not None:
            self.levels["trailing"] = trailing
        self.levels["best"] = price

    def _resize(self, open_: Decimal, fraction: Decimal) -> None:
        side = ONE if self.held > 0 else -ONE
        if fraction <= -1:
            self._leave(open_, "exit")
            return
        way = side if fraction > 0 else -side
        price = self._slipped(open_, way)
        wanted = abs(self.held * fraction)
        if fraction > 0:
            equity = self.cash + self.held * price
            wanted = min(wanted, (equity - abs(self.held) * price) / (price * (1 + exact(self.costs.fee))))
        wanted = self._whole_steps(wanted)
        most = self._most()
        quantity = wanted if most is None else min(wanted, most)
        if quantity <= abs(self.held) * D("1e-9") or quantity * price < exact(self.costs.least_notional):
            self.denied += 1
            return
        self._cut(wanted)
        self._book(way, quantity, price, "add" if fraction > 0 else "reduce", exact(self.costs.fee))

    def _pass(self, open_: Decimal, high: Decimal, low: Decimal, close: Decimal) -> None:
        """Let prices go through a range. A short's is turned upside down, so that the rules need telling once."""
        if self.resting is not None:
            self._through_limit(high, low, close)
        elif self.held and not self.leaving:
            self._levels_reached(open_, high, low)

    def _through_limit(self, high: Decimal, low: Decimal, close: Decimal) -> None:
        assert self.resting is not None
        decided, side, limit = self.resting
        worst_end = low if side > 0 else high
        if not side * worst_end < side * limit:
            return
        self.resting = None
        self._enter(decided, side, limit, exact(self.costs.maker_fee))
        nearest = self._nearest_stop()
        if self.held and nearest and side * nearest[0] >= side * worst_end:
            self._leave(min(side * nearest[0], side * limit) * side, nearest[1])
        elif self.held:
            self._reach_targets(side, close, None)
            if self.held:
                self.levels["best"] = side * max(side * self.levels["best"], side * close)

    def _nearest_stop(self) -> tuple[Decimal, str] | None:
        if not self.held:
            return None
        side = ONE if self.held > 0 else -ONE
        stops = [(self.levels[name], reason) for name, reason in (("stop", "stop"),) if name in self.levels]
        if "trailing" in self.levels:
            best, distance = self.levels["best"], self.levels["trailing"]
            stops.append((self._tick(best * (1 - side * distance), up=side < 0), "trailing"))
        if side < 0:
            stops.insert(0, (self.cash / -self.held, "liquidation"))
        return max(stops, key=lambda each: side * each[0]) if stops else None

    def _levels_reached(self, open_: Decimal, high: Decimal, low: Decimal) -> None:
        side = ONE if self.held > 0 else -ONE
        nearest = self._nearest_stop()
        best_end, worst_end = (high, low) if side > 0 else (low, high)
        if nearest and side * (nearest[0] - open_) >= 0:
            self._leave(open_, nearest[1])
            return
        self._reach_targets(side, open_, open_)
        if self.held and nearest and side * (nearest[0] - worst_end) >= 0:
            self._leave(nearest[0], nearest[1])
            return
        self._reach_targets(side, best_end, None)
        if self.held:
            self.levels["best"] = max(self.levels["best"], high) if side > 0 else min(self.levels["best"], low)

    def _reach_targets(self, side: Decimal, reached: Decimal, at: Decimal | None) -> None:
        waiting = [target for target in self.targets if target.price is not None]
        for target in sorted(waiting, key=lambda one: side * (one.price or ZERO)):
            if not self.held or target.price is None or target.silent_in == self.row or side * (reached - target.price) <= 0:
                continue
            price, held = target.price if at is None else at, abs(self.held)
            paid, rate = price, exact(self.costs.maker_fee)
            if at is not None and target.new_in == self.row:
                paid, rate = max(side * self._slipped(at, -side), side * target.price) * side, exact(self.costs.fee)
            if target.part is None:
                wanted = held
            else:
                wanted = self._whole_steps(target.part * self.entered) if target.wants is None else target.wants
            wanted = held if wanted >= held * (1 - D("1e-9")) else wanted
            if wanted < held and (wanted <= 0 or wanted * price < exact(self.costs.least_notional)):
                self.denied += 1
                target.price, target.is_over = None, True
                continue
            quantity = self._cut(wanted, is_new=target.wants is None)
            if quantity < wanted:
                target.silent_in, target.wants = self.row, wanted - quantity
            else:
                target.price, target.is_over = None, True
            if quantity > 0:
                self._book(-side, quantity, paid, "target", rate)

    def _move(self) -> None:
        row, side = self.row, ONE if self.held > 0 else -ONE
        if (stop := self._said("stop", row)) is not None:
            stop = self._tick(stop, up=side < 0)
            known = self.levels.get("stop")
            self.levels["stop"] = stop if known is None else max(known, stop) if side > 0 else min(known, stop)
        for target, number in zip(self.targets, ("", "_2", "_3"), strict=True):
            if (said := self._said(f"target{number}", row)) is not None and not target.is_over:
                said = self._tick(said, up=side > 0)
                if said != target.price:
                    target.new_in = self.row + 1
                target.price = said
                if (part := self._said(f"part{number}", row)) is not None:
                    target.part = part
        if (trailing := self._said("trailing", row)) is not None:
            self.levels["trailing"] = trailing

    def _leave(self, price: Decimal, reason: str) -> None:
        side = -ONE if self.held > 0 else ONE
        quantity = self._cut(abs(self.held), is_new=not self.leaving)
        if quantity < abs(self.held):
            self.leaving = reason
        if quantity > 0:
            self._book(side, quantity, self._slipped(price, side), reason, exact(self.costs.fee))

    def _book(self, side: Decimal, quantity: Decimal, price: Decimal, reason: str, rate: Decimal) -> None:
        self.cash -= side * quantity * price + quantity * price * rate
        if reason in ("entry", "add"):
            self.entered += quantity
        self.held += side * quantity
        self.fills.append(ReferenceFill(self.row, int(side), quantity, price, reason))
        if abs(self.held) <= quantity * D("1e-9"):
            self.held = ZERO
            self._flat()

    def _slipped(self, price: Decimal, side: Decimal) -> Decimal:
        return self._tick(price * (1 + side * exact(self.costs.slippage)), up=side > 0)

    def _tick(self, price: Decimal, *, up: bool) -> Decimal:
        tick = exact(self.costs.tick)
        return price if not tick else (price / tick).to_integral_value(ROUND_CEILING if up else ROUND_FLOOR) * tick

    def _whole_steps(self, quantity: Decimal) -> Decimal:
        step = exact(self.costs.step)
        return quantity if not step else (quantity / step).to_integral_value(ROUND_FLOOR) * step
