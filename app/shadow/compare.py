"""What a bot came to beside its shadow, and how much of the difference each cause makes. Pure.

    live − shadow = Σ over episodes of (live − shadow), and of each episode
      live − live at expected prices and fees      → price of the fill, fees: of every order, whatever went differently around it
      then, where both made the same orders        → levels that lay elsewhere, and other quantities: other capital, another price
      else                                         → the cause of the first order that differs

What no cause was found for is the rest. So the parts sum up to the difference whatever happens: `tests/shadow` takes that apart.
"""

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal, localcontext
from typing import Final

from app.shadow import causes
from app.shadow.align import Episode, episodes, first_difference
from app.shadow.causes import Cause
from app.shadow.differences import Comparison, Difference
from app.shadow.lives import ZERO, Act, LiveLife, Market, ShadowLife, Trade
from app.shadow.money import WIDE, expected_fees, expected_profit, fees, gain, kept, priced, profit
from app.shadow.notes import notes
from app.shadow.sizes import Sized, sized
from app.shadow.why import why

#: Amounts below this fraction of the capital are what floats leave.
_DUST: Final = Decimal("1e-10")
_BPS: Final = Decimal(10_000)


def compare(live: LiveLife, shadow: ShadowLife, market: Market) -> Comparison:
    """Return how a bot did beside its shadow; the parts and the rest sum up to the difference exactly."""
    found: list[Difference] = []
    ours, its = live.capital, live.capital
    for episode in episodes(live.trades, shadow.trades):
        found += _Compared(episode, live, shadow, market, (ours, its)).differences()
        ours += sum((profit(trade, market.mark) for trade in episode.live), ZERO)
        its += sum((profit(trade, market.mark) for trade in episode.shadow), ZERO)
    found = _tidy([*found, *notes(found, live, shadow, market)], live.capital)
    came, would = kept(ours - live.capital), kept(its - live.capital)
    return Comparison(
        live=came,
        shadow=would,
        live_trades=len(live.trades),
        shadow_trades=len(shadow.trades),
        differences=tuple(sorted(found, key=lambda one: one.at)),
        rest=came - would - sum((one.money for one in found), ZERO),
    )


class _Compared:
    """One episode; `equity` is what both were worth when it began."""

    def __init__(self, episode: Episode, live: LiveLife, shadow: ShadowLife, market: Market, equity: tuple[Decimal, Decimal]) -> None:
        self._episode, self._live, self._shadow, self._market, self._equity = episode, live, shadow, market, equity
        self._is_same = first_difference(episode) is None

    def differences(self) -> list[Difference]:
        """Return what went differently, and what each came to."""
        with localcontext(WIDE):
            mark = self._market.mark
            found = [one for trade in self._episode.live for one in self._filled(trade)]
            expected = [(trade, priced(trade, self._market)) for trade in self._episode.live]
            ideal = sum((expected_profit(trade, self._market, prices) for trade, prices in expected), ZERO)
            its = sum((profit(trade, mark) for trade in self._episode.shadow), ZERO)
            left = ideal - its
            if self._is_same:
                moved = self._levels()
                found += moved
                left -= sum((one.money for one in moved), ZERO)
                return [*found, *self._sizes(left)]
            grown = self._grown(its)
            found += grown
            left -= sum((one.money for one in grown), ZERO)
            return [*found, *self._diverged(left)]

    def _filled(self, trade: Trade) -> list[Difference]:
        """What the prices and the fees of a bot's orders made, beside those that a backtest expects of the same orders."""
        market, prices = self._market, priced(trade, self._market)
        made = gain(trade, market.mark) - gain(trade, market.mark, prices)
        wanted = expected_fees(trade, market, prices)
        paid = sum(wanted, ZERO) - fees(trade)
        found = []
        for act, price in zip(trade.acts, prices, strict=True):
            if price is None or act.price == price:
                continue
            worse = act.value - act.quantity * price if act.kind.is_buy else act.quantity * price - act.value
            found.append(_price(act, price, -worse))
        # Of what is left over as too small to sell, what it was bought for is counted nowhere: the first order takes that.
        if found:
            short = made - sum((one.money for one in found), ZERO)
            found[0] = replace(found[0], money=found[0].money + short)
        if paid:
            told = {"live": _amount(fees(trade)), "shadow": _amount(sum(wanted, ZERO))}
            ids = tuple(dict.fromkeys(one for act in trade.acts for one in act.order_ids))
            found.append(Difference(cause=Cause.FEE, at=trade.entry.candle, money=paid, message=causes.FEE, values=told, order_ids=ids))
        return found

    def _levels(self) -> list[Difference]:
        """What stops and targets made that both reached, at other prices."""
        found = []
        for ours, its in zip(self._episode.live, self._episode.shadow, strict=False):
            prices = priced(ours, self._market)
            for place, (act, other) in enumerate(zip(ours.acts, its.acts, strict=False)):
                own, there = prices[place], other.price
                if own is None or own == there or not act.kind.is_level:
                    continue
                before = expected_profit(ours, self._market, prices)
                prices[place] = there
                money = before - expected_profit(ours, self._market, prices)
                found.append(self._level(act, own, there, money))
        return found

    def _level(self, act: Act, own: Decimal, there: Decimal, money: Decimal) -> Difference:
        if self._live.was_revised(act.candle):
            cause, message = Cause.CANDLE_REVISED, causes.LEVEL_MOVED
        elif self._episode.live[0].entry.price != self._episode.shadow[0].entry.price:
            cause, message = Cause.FILL_PRICE, causes.LEVEL
        else:
            cause, message = Cause.WITHIN_CANDLE, causes.LEVEL_MOVED
        told = {"live": _amount(own), "shadow": _amount(there)}
        return Difference(cause=cause, at=act.candle, money=money, message=message, values=told, order_ids=act.order_ids)

    def _sizes(self, money: Decimal) -> list[Difference]:
        """What other quantities made of trades that were the same otherwise."""
        if not self._episode.live or not money:
            return []
        ours, its = self._episode.live[0].entry, self._episode.shadow[0].entry
        return [self._sized(one, ours, money) for one in sized(ours, its, self._equity, self._market, self._signal(ours))]

    def _grown(self, its: Decimal) -> list[Difference]:
        """What the quantity of an entry made that both made, where they went apart afterwards."""
        if not self._episode.live or not self._episode.shadow:
            return []
        ours, other = self._episode.live[0].entry, self._episode.shadow[0].entry
        if ours.decided is None or ours.decided != other.decided or not other.quantity:
            return []
        money = its * (ours.quantity / other.quantity - 1)
        found = sized(ours, other, self._equity, self._market, self._signal(ours)) if money else []
        return [self._sized(one, ours, money) for one in found]

    def _sized(self, one: Sized, act: Act, money: Decimal) -> Difference:
        return Difference(
            cause=one.cause, at=act.candle, money=money * one.share, message=one.message, values=one.values, code=one.code,
            order_ids=act.order_ids,
        )  # fmt: skip

    def _signal(self, act: Act) -> tuple[Decimal | None, str | None]:
        signal = None if act.decided is None else self._live.signals.get(act.decided)
        return (None, None) if signal is None else (signal.price, signal.code)

    def _diverged(self, money: Decimal) -> list[Difference]:
        reason = why(self._episode, self._live, self._shadow, self._market)
        acts = first_difference(self._episode)
        if reason is None or acts is None:
            return []
        first = acts[0] or acts[1]
        ids = () if acts[0] is None else acts[0].order_ids
        at = self._episode.start if first is None else first.candle
        return [
            Difference(
                cause=reason.cause, at=at, money=money, message=reason.message, values=reason.values, code=reason.code,
                signal=reason.signal, order_ids=ids,
            )
        ]  # fmt: skip


def _price(act: Act, price: Decimal, money: Decimal) -> Difference:
    worse = (act.price / price - 1) * _BPS if price else ZERO
    bps = (worse if act.kind.is_buy else -worse).quantize(Decimal("0.01"))
    told = {"what": causes.WHAT[act.kind.value], "live": _amount(act.price), "shadow": _amount(price), "bps": f"{bps:+f}"}
    return Difference(
        cause=Cause.FILL_PRICE, at=act.candle, money=money, message=causes.PRICE, values=told, order_ids=act.order_ids, bps=bps
    )


def _amount(value: Decimal) -> str:
    return f"{value.quantize(Decimal('1e-8'), context=WIDE).normalize(WIDE):f}"


def _tidy(found: Iterable[Difference], capital: Decimal) -> list[Difference]:
    """As they are stored: amounts with so many places, and none that are nothing, unless they tell that something cost nothing."""
    tidy = []
    for one in found:
        money = kept(one.money)
        is_dust = abs(money) <= capital * _DUST
        if is_dust and one.cause in (Cause.FILL_PRICE, Cause.FEE, Cause.CAPITAL):
            continue
        tidy.append(replace(one, money=money))
    return tidy
