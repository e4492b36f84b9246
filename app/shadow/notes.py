"""What went differently and cost nothing: decisions that were refused, candles without one, and decisions that must not differ. Pure."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

from app.core.sentences import filled
from app.domain.arrays import LONG
from app.shadow import causes
from app.shadow.causes import Cause
from app.shadow.differences import Difference
from app.shadow.lives import LiveLife, Market, ShadowLife, Signal, Trade
from app.shadow.why import is_safeguard

#: Of each sort; a bot of minutes that was away for a month would fill a page with the same line.
_MOST: Final = 100
_NOTHING: Final = Decimal(0)
_KIND: Final = {"long": "entry", "exit": "exit", "adjust": "add", "levels": "levels"}


def notes(found: Sequence[Difference], live: LiveLife, shadow: ShadowLife, market: Market) -> list[Difference]:
    """Return what is not among the differences that were found and cost nothing by itself."""
    told = {one.signal for one in found if one.signal is not None}
    open_ones = [(candle, signal) for candle, signal in sorted(live.signals.items()) if signal.id not in told]
    refused = [_refused(candle, signal, live, market) for candle, signal in open_ones if _is_refused(signal)]
    blamed = {one.at for one in found if one.cause is Cause.DECISION}
    differing = [one for one in _differing(live, shadow, market) if one.signal not in told and market.next_of(one.at) not in blamed]
    return [*refused[-_MOST:], *list(_missed(live, market))[-_MOST:], *differing[-_MOST:]]


def _is_refused(signal: Signal) -> bool:
    return signal.action in _KIND and signal.state in ("denied", "skipped", "rejected", "expired")


def _refused(candle: int, signal: Signal, live: LiveLife, market: Market) -> Difference:
    message = causes.SKIPPED
    if signal.state == "denied":
        cause, message = Cause.SAFEGUARD if is_safeguard(signal.code) else Cause.DENIED, causes.DENIED
    elif signal.state == "rejected" or (signal.state == "expired" and live.is_asking):
        cause, message = Cause.APPROVAL, causes.NOT_APPROVED
    else:
        span = live.span_at(candle + market.timeframe)
        cause = Cause.MISSED_CANDLE if span is None else span.cause
    reason = filled(signal.message, signal.values) or (signal.code or signal.state)
    values = {"what": causes.WHAT[_KIND[signal.action]], "why": reason}
    return Difference(
        cause=cause, at=candle, money=_NOTHING, message=message, values=values, code=signal.code, signal=signal.id,
        order_ids=signal.order_ids,
    )  # fmt: skip


def _missed(live: LiveLife, market: Market) -> Iterator[Difference]:
    """Stretches of candles at which nobody decided though the bot ran."""
    run: list[int] = []
    # What closes now may still be decided.
    for candle in [int(one) for one in market.time[:-1] if one >= max(live.first, live.known_since)]:
        is_missed = candle not in live.signals and live.span_at(candle + market.timeframe) is None
        if is_missed:
            run.append(candle)
        elif run:
            yield _stretch(run)
            run = []
    if run:
        yield _stretch(run)


def _stretch(run: list[int]) -> Difference:
    return Difference(cause=Cause.MISSED_CANDLE, at=run[0], money=_NOTHING, message=causes.MANY_MISSED, values={"count": str(len(run))})


def _differing(live: LiveLife, shadow: ShadowLife, market: Market) -> Iterator[Difference]:
    """Candles at whose close both held nothing, and only one of both wanted to enter."""
    holds = _Holding(live.trades), _Holding(shadow.trades)
    for candle, signal in sorted(live.signals.items()):
        if not signal.is_asked or any(one.at(candle) for one in holds):
            continue
        if bool(shadow.wanted.get(candle, 0) & LONG) == (signal.action == "long"):
            continue
        cause, message = Cause.DECISION, causes.DIFFERS
        if live.was_revised(candle):
            cause, message = Cause.CANDLE_REVISED, causes.REVISED
        yield Difference(cause=cause, at=candle, money=_NOTHING, message=message, values={"what": causes.WHAT["entry"]}, signal=signal.id)


class _Holding:
    """Whether something is held at the close of a candle."""

    def __init__(self, trades: Sequence[Trade]) -> None:
        self._starts = [trade.entry.candle for trade in trades]
        self._trades = trades

    def at(self, candle: int) -> bool:
        """Return whether a trade is open at its close."""
        place = bisect_right(self._starts, candle) - 1
        return place >= 0 and candle < self._trades[place].last
