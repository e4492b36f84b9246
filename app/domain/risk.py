"""What may be traded now: the trading states, their scopes, and which orders each lets pass. Pure.

    state        entry   entry that lowers   exit   target   stop   flatten
    active        yes         yes            yes     yes     yes      yes
    reducing      no          yes            yes     yes     yes      yes
    reconciling   no          no             yes     yes     yes      yes
    halted        no          no             no      yes     yes      yes

"Lowers" means by position: an entry on the other side of the position and not larger than what of it nobody closes already. While
reconciling the position is not certain, so only an order's role counts. A halt stops signals, also those that close; what guards a position
passes (a target too: at the venue it is one request with its stop), and so does the kill switch's own way out of the market. Cancels pass
always. Each row lets pass a part of what the row above it does, so the strictest of several states decides for all of them.

An account's trading mode says whose orders it takes: by hand, from webhooks, from bots; of nobody's it is off. To a source that the mode
leaves out the account is as halted: its signals are not followed, also those that close. To a person it is as reducing instead: what they
hold they can always sell by hand. What guards a position passes whoever opened it.

"The position" is that of the order's bot, or the hand's: each bot has its own in a symbol. What restrains bots, all or one of them, is
about what they order themselves: a person can sell by hand what a halted bot holds.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from app.domain.enums import Role, Source, TradingState
from app.errors import DenialReason

_EVERY: Final = frozenset(Role)
#: The roles that each state lets pass whatever the position is.
PASSING: Final[dict[TradingState, frozenset[Role]]] = {
    TradingState.ACTIVE: _EVERY,
    TradingState.REDUCING: _EVERY - {Role.ENTRY},
    TradingState.RECONCILING: _EVERY - {Role.ENTRY},
    TradingState.HALTED: frozenset({Role.TARGET, Role.STOP, Role.FLATTEN}),
}
#: The state that also lets pass an entry by which the position becomes smaller.
LOWERING: Final = TradingState.REDUCING
#: Whose orders an account's trading mode can take; all of them unless its owner says otherwise.
MODES: Final = (Source.MANUAL, Source.WEBHOOK, Source.BOT)
#: What an account is to a source that its mode leaves out.
LEFT_OUT: Final[dict[Source, TradingState]] = {
    Source.MANUAL: TradingState.REDUCING,
    Source.WEBHOOK: TradingState.HALTED,
    Source.BOT: TradingState.HALTED,
}
_STRICTNESS: Final = {state: place for place, state in enumerate(TradingState)}
_CODES: Final = {
    TradingState.REDUCING: DenialReason.TRADING_REDUCING,
    TradingState.RECONCILING: DenialReason.TRADING_RECONCILING,
    TradingState.HALTED: DenialReason.TRADING_HALTED,
}


class ScopeKind(StrEnum):
    """What a trading state, a limit or a kill switch is about, from wide to narrow."""

    PLATFORM = "platform"
    USER = "user"
    BROKER = "broker"
    BOTS = "bots"
    STRATEGY = "strategy"
    SYMBOL = "symbol"


class KillAction(StrEnum):
    """What the kill switch does, each more than the one before it: no new orders, no open orders, no positions."""

    STOP = "stop"
    CANCEL = "cancel"
    FLATTEN = "flatten"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """One such thing. `key` is unique among all kinds; `user_id` is whose it is, None for the platform."""

    kind: ScopeKind
    key: str
    user_id: UUID | None = None

    @classmethod
    def platform(cls) -> "Scope":
        """Everything on this server."""
        return cls(kind=ScopeKind.PLATFORM, key=ScopeKind.PLATFORM.value)

    @classmethod
    def user(cls, user_id: UUID) -> "Scope":
        """All accounts of a user."""
        return cls(kind=ScopeKind.USER, key=str(user_id), user_id=user_id)

    @classmethod
    def broker(cls, broker_id: UUID, user_id: UUID) -> "Scope":
        """One account."""
        return cls(kind=ScopeKind.BROKER, key=str(broker_id), user_id=user_id)

    @classmethod
    def bots(cls, user_id: UUID) -> "Scope":
        """All bots of a user: what they order, and what they hold."""
        return cls(kind=ScopeKind.BOTS, key=f"{ScopeKind.BOTS.value}/{user_id}", user_id=user_id)

    @classmethod
    def strategy(cls, bot_id: UUID, user_id: UUID) -> "Scope":
        """One bot."""
        return cls(kind=ScopeKind.STRATEGY, key=str(bot_id), user_id=user_id)

    @classmethod
    def symbol(cls, symbol: str, user_id: UUID) -> "Scope":
        """One symbol on all accounts of a user."""
        return cls(kind=ScopeKind.SYMBOL, key=f"{user_id}/{symbol}", user_id=user_id)

    @property
    def name(self) -> str:
        """The key without its owner: what a person would call it."""
        return self.key.partition("/")[2] if self.kind in (ScopeKind.SYMBOL, ScopeKind.BOTS) else self.key


def strictness(state: TradingState) -> int:
    """Return the place of a state between free (0) and strict."""
    return _STRICTNESS[state]


def strictest(states: Iterable[TradingState]) -> TradingState:
    """Return the strictest of several states; ACTIVE when there is none."""
    return max(states, key=strictness, default=TradingState.ACTIVE)


def lets_pass(state: TradingState, role: Role, *, lowers: bool) -> bool:
    """Whether an order of that role may be sent in that state. `lowers` means that it makes the position smaller."""
    return role in PASSING[state] or (state is LOWERING and lowers)


def refusal(state: TradingState, reason: str, *, is_mode: bool = False) -> tuple[DenialReason, str]:
    """Return the code and the sentence of an order that a state does not let pass.

    Args:
        state: Any but ACTIVE.
        reason: Why the state was set, a sentence.
        is_mode: Whether it is not a state that was set, but what the account's trading mode makes of it for the order's source.
    """
    if is_mode:
        return DenialReason.BROKER_MODE, f"nothing was sent: {reason}"
    what = {
        TradingState.HALTED: "trading is halted and nothing was sent",
        TradingState.REDUCING: "only orders that make a position smaller are sent now",
        TradingState.RECONCILING: "no position is opened until the account has been checked against the exchange",
    }[state]
    return _CODES[state], f"{what}: {reason}"
