"""Why a bot did something that its shadow did not, or the other way round: the first act of an episode that differs has the cause. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from app.core.sentences import filled
from app.domain.arrays import EXIT, LONG
from app.shadow import causes
from app.shadow.align import Episode, first_difference, same_before
from app.shadow.causes import Cause
from app.shadow.lives import Act, Kind, LiveLife, Market, ShadowLife, Signal

#: Codes by which safeguards refuse an entry.
SAFEGUARD_CODES: Final = frozenset({"SAFEGUARD", "TRIPPED", "COOLDOWN", "MAX_POSITIONS", "MAX_NOTIONAL"})
_WANTS: Final = {Kind.ENTRY: ("long",), Kind.EXIT: ("exit",), Kind.ADD: ("adjust",), Kind.REDUCE: ("adjust", "exit")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why something differs: a cause, and a sentence with names for its values; `what` is to be translated as well."""

    cause: Cause
    message: str
    values: Mapping[str, str] = field(default_factory=dict)
    code: str | None = None
    signal: str | None = None


def why(episode: Episode, live: LiveLife, shadow: ShadowLife, market: Market) -> Reason | None:
    """Return why an episode went differently; None where nothing tells it."""
    found = first_difference(episode)
    if found is None:
        return None
    ours, its = found
    if its is not None and its.is_short:
        return Reason(cause=Cause.SHORT, message=causes.SHORT)
    looked = _Look(episode, live, shadow, market)
    if ours is not None and ours.kind is Kind.HAND:
        return looked.sold(ours)
    if its is not None:
        reason = looked.not_done(its)
        return reason if reason is not None or ours is None else looked.done(ours)
    return None if ours is None else looked.done(ours)


class _Look:
    """One look at an episode."""

    def __init__(self, episode: Episode, live: LiveLife, shadow: ShadowLife, market: Market) -> None:
        self._episode, self._live, self._shadow, self._market = episode, live, shadow, market
        self._before = same_before(episode)

    def sold(self, act: Act) -> Reason:
        """Why a bot's position was sold though its strategy did not want it."""
        trip = next((one for one in self._live.trips if one.start <= act.candle + self._market.timeframe and act.candle < one.end), None)
        if trip is None:
            return Reason(cause=Cause.HAND, message=causes.SOLD)
        return Reason(cause=Cause.SAFEGUARD, message=causes.SOLD_BY_SAFEGUARD, values={"why": filled(trip.message, trip.values)})

    def not_done(self, act: Act) -> Reason | None:
        """Why the bot did not do what the shadow did."""
        if act.kind.is_level:
            return self._level(act, causes.REACHED)
        decided = act.decided
        if decided is None:
            # The shadow's own safeguards took it out of the market.
            return Reason(cause=Cause.SAFEGUARD, message=causes.KEPT_BY_SHADOW, values=_what(act))
        signal = self._live.signals.get(decided)
        if signal is None or not signal.is_asked:
            return self._unasked(act, decided, signal)
        if signal.action in _WANTS[act.kind]:
            return self._wanted(act, signal)
        return self._decided_otherwise(act, decided, signal)

    def done(self, act: Act) -> Reason | None:
        """Why the shadow did not do what the bot did."""
        if act.kind.is_level:
            return self._level(act, causes.REACHED_LIVE)
        decided = act.decided
        if decided is None:
            return Reason(cause=Cause.HAND, message=causes.SOLD)
        signal, flags = self._live.signals.get(decided), self._shadow.wanted.get(decided, 0)
        wanted = LONG if act.kind is Kind.ENTRY else EXIT if act.kind is Kind.EXIT else 0
        if flags & wanted:
            cause, message = Cause.SAFEGUARD, causes.KEPT_BY_SHADOW
            if act.level is not None:
                cause, message = Cause.WITHIN_CANDLE, causes.UNFILLED
            return Reason(cause=cause, message=message, values=_what(act), signal=None if signal is None else signal.id)
        return self._decided_otherwise(act, decided, signal)

    def _unasked(self, act: Act, decided: int, signal: Signal | None) -> Reason:
        closes = decided + self._market.timeframe
        span = self._live.span_at(closes)
        if span is not None:
            values = {**_what(act), "why": filled(span.message, span.values)}
            return Reason(cause=span.cause, message=causes.SKIPPED, values=values, signal=None if signal is None else signal.id)
        if signal is None:
            return Reason(cause=Cause.MISSED_CANDLE, message=causes.NO_SIGNAL, values=_what(act))
        return Reason(cause=Cause.MISSED_CANDLE, message=causes.SKIPPED, values=_told(act, signal), code=signal.code, signal=signal.id)

    def _wanted(self, act: Act, signal: Signal) -> Reason | None:
        """The bot wanted the same, and it was not filled."""
        if signal.state == "skipped":
            return self._unasked(act, act.decided or 0, signal)
        if signal.state in ("rejected", "expired"):
            is_late = signal.state == "expired" and not self._live.is_asking
            cause = Cause.MISSED_CANDLE if is_late else Cause.APPROVAL
            message = causes.SKIPPED if is_late else causes.NOT_APPROVED
            return Reason(cause=cause, message=message, values=_told(act, signal), code=signal.code, signal=signal.id)
        if signal.state == "denied" or signal.code is not None:
            cause = Cause.SAFEGUARD if is_safeguard(signal.code) else Cause.DENIED
            return Reason(cause=cause, message=causes.DENIED, values=_told(act, signal), code=signal.code, signal=signal.id)
        if act.level is not None:
            return Reason(cause=Cause.WITHIN_CANDLE, message=causes.UNFILLED, values=_what(act), signal=signal.id)
        return None

    def _decided_otherwise(self, act: Act, decided: int, signal: Signal | None) -> Reason:
        """Both were asked, and one wanted it."""
        cause, message = Cause.DECISION, causes.DIFFERS
        if self._live.was_revised(decided):
            cause, message = Cause.CANDLE_REVISED, causes.REVISED
        elif self._live.changed_at is not None and self._live.changed_at <= decided + self._market.timeframe:
            cause, message = Cause.CHANGED, causes.CHANGED
        elif self._before and self._shadow.by_account and self._is_priced_otherwise():
            cause, message = Cause.FILL_PRICE, causes.DIFFERS_BY_ENTRY
        return Reason(cause=cause, message=message, values=_what(act), signal=None if signal is None else signal.id)

    def _level(self, act: Act, message: str) -> Reason:
        if self._live.was_revised(act.candle):
            return Reason(cause=Cause.CANDLE_REVISED, message=causes.REVISED, values=_what(act))
        if self._before and self._is_priced_otherwise():
            return Reason(cause=Cause.FILL_PRICE, message=causes.LEVEL_ELSEWHERE, values=_what(act))
        return Reason(cause=Cause.WITHIN_CANDLE, message=message, values=_what(act))

    def _is_priced_otherwise(self) -> bool:
        """Whether the entry that both made was filled at another price."""
        if not self._episode.live or not self._episode.shadow:
            return False
        ours, its = self._episode.live[0].entry.price, self._episode.shadow[0].entry.price
        return abs(ours - its) > abs(its) * Decimal("1e-9")


def is_safeguard(code: str | None) -> bool:
    """Return whether a code is of safeguards."""
    return code is not None and (code in SAFEGUARD_CODES or code.startswith("SAFEGUARD"))


def _what(act: Act) -> dict[str, str]:
    return {"what": causes.WHAT[act.kind.value]}


def _told(act: Act, signal: Signal) -> dict[str, str]:
    # A reason of several values is told in English here and translated where it is shown, as all sentences with sentences in them.
    return {**_what(act), "why": filled(signal.message, signal.values) or (signal.code or signal.state)}
