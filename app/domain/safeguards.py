"""Safeguards of a bot, or of all bots of a user: rules that keep it from losing more than its owner wants. Pure.

They are called safeguards because a *protection* is the stop and the target of one position.

    rule            what it does
    cooldown        entries wait for so many candles (or minutes) after a trade closed, or after a losing one; it ends by itself
    max_positions   an entry is denied while bots of the user hold so many positions already
    max_notional    an entry or an addition is cut, so that the position is worth at most so much of the quote currency
    daily_loss      trips when equity is a fraction of the capital below that at 00:00 UTC, what is not realised included
    drawdown        trips when equity is a fraction below its highest close
    stops           trips when so many trades were stopped out within a window of candles or minutes
    losses          trips when so many trades in a row lost

The first three answer a single entry and go on. The others *trip*: the bot is suspended, or leaves its position as well (`flatten`), until
somebody re-arms it by hand or `rearm_after` candles have passed. From then on what happened before counts no more.

`domain.safeguard_judge` applies them to a live bot, `domain.guarded_account` to a simulated one.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

#: Of cooldowns, windows and re-arming; minutes of a year.
MOST_CANDLES: Final = 100_000
MOST_MINUTES: Final = 527_040
MOST_TRADES: Final = 1_000
_MINUTE_MS: Final = 60_000


class Action(StrEnum):
    """What tripping does: no further entries, or out of the market as well."""

    SUSPEND = "suspend"
    FLATTEN = "flatten"


class Rule(StrEnum):
    """The rules, named as the fields of `Safeguards`."""

    COOLDOWN = "cooldown"
    MAX_POSITIONS = "max_positions"
    MAX_NOTIONAL = "max_notional"
    DAILY_LOSS = "daily_loss"
    DRAWDOWN = "drawdown"
    STOPS = "stops"
    LOSSES = "losses"


#: The rules that trip, in the order in which they are looked at; a rule's code in columns is its place here.
TRIPPING: Final = (Rule.DAILY_LOSS, Rule.DRAWDOWN, Rule.STOPS, Rule.LOSSES)

_Candles = Annotated[int, Meta(ge=0, le=MOST_CANDLES)]
_Minutes = Annotated[int, Meta(ge=0, le=MOST_MINUTES)]
_Trades = Annotated[int, Meta(ge=1, le=MOST_TRADES)]


class Span(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A time, as candles of the bot or as minutes; one of the two is 0. Safeguards of a user know minutes only."""

    candles: _Candles = 0
    minutes: _Minutes = 0

    def __post_init__(self) -> None:
        if (self.candles > 0) == (self.minutes > 0):
            raise ValueError("either candles or minutes must be above 0, and not both")

    def milliseconds(self, timeframe_ms: int | None) -> int:
        """Return how long it is.

        Args:
            timeframe_ms: Length of the bot's candles; None: of no bot.

        Raises:
            ValueError: it is told in candles, and there is no bot.
        """
        if self.minutes:
            return self.minutes * _MINUTE_MS
        if timeframe_ms is None:
            raise ValueError("candles are those of a bot; safeguards of all bots want minutes")
        return self.candles * timeframe_ms


class Tripping(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What all rules that trip have. `rearm_after`: candles of the bot after which it re-arms by itself; 0: by hand only."""

    action: Action = Action.SUSPEND
    rearm_after: _Candles = 0


class Cooldown(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """How long entries wait from the close of the candle in which a trade closed."""

    span: Span
    is_after_losing: bool = False


class MaxPositions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many positions bots of a user may hold at a time for another to be opened."""

    most: Annotated[int, Meta(ge=1, le=10_000)]


class MaxNotional(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one position may be worth where it is entered, in quote units."""

    most: Decimal

    def __post_init__(self) -> None:
        if not (self.most.is_finite() and 0 < self.most <= 10**12):
            raise ValueError(f"a notional must be above 0 and at most 1e12, was {self.most}")


class Loss(Tripping, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """How much may be lost: a fraction (0.05 is 5 %)."""

    fraction: Decimal

    def __post_init__(self) -> None:
        if not (self.fraction.is_finite() and 0 < self.fraction < 1):
            raise ValueError(f"a fraction must be above 0 and below 1, was {self.fraction}")


class StopGuard(Tripping, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """How many trades may be stopped out within a time; a window of n candles is the candle of the last stop and the n − 1 before it."""

    stops: _Trades
    window: Span


class LossStreak(Tripping, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """How many trades in a row may lose."""

    trades: _Trades


class Safeguards(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The safeguards of a bot, or of all bots of a user; None is no such rule. Stored and sent as `plain_safeguards` has them."""

    cooldown: Cooldown | None = None
    max_positions: MaxPositions | None = None
    max_notional: MaxNotional | None = None
    daily_loss: Loss | None = None
    drawdown: Loss | None = None
    stops: StopGuard | None = None
    losses: LossStreak | None = None

    def __bool__(self) -> bool:
        return self != NO_SAFEGUARDS

    def tripping(self, rule: Rule) -> Tripping | None:
        """Return one of the rules that trip; None where there is none."""
        found: Tripping | None = getattr(self, rule.value)
        return found


NO_SAFEGUARDS: Final = Safeguards()


class RuleNumbers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule that trips, as a simulation wants it. `limit` is a fraction or a count, 0 for no such rule; `rearm_ms` 0 is never."""

    limit: Annotated[float, Meta(ge=0, le=MOST_TRADES)] = 0.0
    flattens: bool = False
    rearm_ms: Annotated[int, Meta(ge=0, le=2**53)] = 0


class SafeguardNumbers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Safeguards as a simulation wants them: floats and milliseconds, 0 for what there is not.

    Attributes:
        timeframe_ms: Length of a candle.
        cooldown_ms: How long entries wait from the close of the candle in which a trade closed.
        is_after_losing: Whether they wait after losing trades only.
        most_notional: Quote units that a position may be worth.
        stops_window_ms: Stops count that are less than this before the last one.
        daily_loss: Of the capital, since the last close before the UTC day.
        drawdown: Of the highest equity at a close.
        stops: How many.
        losses: How many in a row.
    """

    timeframe_ms: Annotated[int, Meta(ge=1, le=2**53)]
    cooldown_ms: Annotated[int, Meta(ge=0, le=2**53)] = 0
    is_after_losing: bool = False
    most_notional: Annotated[float, Meta(ge=0, le=1e12)] = 0.0
    stops_window_ms: Annotated[int, Meta(ge=0, le=2**53)] = 0
    daily_loss: RuleNumbers = RuleNumbers()
    drawdown: RuleNumbers = RuleNumbers()
    stops: RuleNumbers = RuleNumbers()
    losses: RuleNumbers = RuleNumbers()

    @property
    def rules(self) -> tuple[RuleNumbers, ...]:
        """The rules that trip, in the order of `TRIPPING`."""
        return self.daily_loss, self.drawdown, self.stops, self.losses


def numbers_of(safeguards: Safeguards, timeframe_ms: int) -> SafeguardNumbers | None:
    """Return safeguards for candles of a length; None where a simulation can apply none: it knows no other bots."""
    if not msgspec.structs.replace(safeguards, max_positions=None):
        return None

    def rule(one: Tripping | None, limit: Decimal | int) -> RuleNumbers:
        if one is None:
            return RuleNumbers()
        return RuleNumbers(limit=float(limit), flattens=one.action is Action.FLATTEN, rearm_ms=one.rearm_after * timeframe_ms)

    cooldown, stops, losses = safeguards.cooldown, safeguards.stops, safeguards.losses
    day, drawdown, notional = safeguards.daily_loss, safeguards.drawdown, safeguards.max_notional
    return SafeguardNumbers(
        timeframe_ms=timeframe_ms,
        cooldown_ms=0 if cooldown is None else cooldown.span.milliseconds(timeframe_ms),
        is_after_losing=cooldown is not None and cooldown.is_after_losing,
        most_notional=0.0 if notional is None else float(notional.most),
        stops_window_ms=0 if stops is None else stops.window.milliseconds(timeframe_ms),
        daily_loss=rule(day, 0 if day is None else day.fraction),
        drawdown=rule(drawdown, 0 if drawdown is None else drawdown.fraction),
        stops=rule(stops, 0 if stops is None else stops.stops),
        losses=rule(losses, 0 if losses is None else losses.trades),
    )


def plain_safeguards(safeguards: Safeguards) -> dict[str, object]:
    """Return safeguards as JSON has them: Decimals as strings, rules that are not set left out."""
    told: dict[str, object] = msgspec.to_builtins(safeguards)
    return told


def read_safeguards(stored: object) -> Safeguards:
    """Return the safeguards that `plain_safeguards` was given.

    Raises:
        msgspec.ValidationError: it is something else; the message says what and where.
    """
    return msgspec.convert(stored, Safeguards)


def checked(given: object, *, is_together: bool = False) -> dict[str, object]:
    """Return safeguards that somebody sent as they are stored.

    Args:
        given: What JSON made of it.
        is_together: Whether they are of all bots of a user: these have no candles.

    Raises:
        ValueError: it is something else; the message says what and where.
    """
    try:
        safeguards = read_safeguards(given)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error
    if is_together:
        spans = [one for one in (safeguards.cooldown and safeguards.cooldown.span, safeguards.stops and safeguards.stops.window) if one]
        rules = [one for one in map(safeguards.tripping, TRIPPING) if one is not None]
        if any(span.candles for span in spans) or any(rule.rearm_after for rule in rules):
            raise ValueError("safeguards of all bots are told in minutes, and armed again by hand: candles are those of one bot")
    return plain_safeguards(safeguards)
