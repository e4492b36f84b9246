"""Bots of users: what each runs, what it decided at each candle and why, what it was worth, and what happened to it."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, ForeignKeyConstraint, Identity, Index, Integer, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.orm import Mapped, mapped_column

from app.core.models import Base, Identified, Owned, one_of

LONGEST_NAME: Final = 60


class BotMode(StrEnum):
    """With what a bot trades, and who has the last word."""

    #: Play money, on a paper account.
    PAPER = "paper"
    #: Each entry and each change of size waits for its owner until the next candle closes; exits and stops never wait.
    ASK = "ask"
    #: An account at an exchange, test networks among them.
    LIVE = "live"


class BotState(StrEnum):
    """What a bot does now."""

    #: Made, and never started.
    READY = "ready"
    RUNNING = "running"
    #: No new entries: what it holds keeps its stop and its targets, and its strategy may leave.
    SUSPENDED = "suspended"
    #: As suspended, because of its strategy, which is not asked any more; starting it again asks it anew.
    FAULTED = "faulted"
    #: The end. It is not started again, but cloned.
    STOPPED = "stopped"

    @property
    def is_live(self) -> bool:
        """Whether the engine has anything to do with it."""
        return self in LIVE


LIVE: Final = (BotState.RUNNING, BotState.SUSPENDED, BotState.FAULTED)
LIVE_SQL: Final = "state IN ('running', 'suspended', 'faulted')"


class AtEnd(StrEnum):
    """What becomes of the position of a bot that stops."""

    #: It stays, with its stop and its targets.
    KEEP = "keep"
    SELL = "sell"


class SignalAction(StrEnum):
    """What a strategy wanted at a candle."""

    NONE = "none"
    LONG = "long"
    SHORT = "short"
    EXIT = "exit"
    #: To add to the position, or to take something off.
    ADJUST = "adjust"
    #: Another stop, another target.
    LEVELS = "levels"


class SignalState(StrEnum):
    """What became of what a strategy wanted."""

    #: Written down; what follows of it is on its way.
    DECIDED = "decided"
    #: For its owner's word, until the next candle closes.
    WAITING = "waiting"
    #: Its orders have been handed over, and not all of them are settled.
    SUBMITTED = "submitted"
    #: Nothing is left to be done; also where nothing was wanted.
    DONE = "done"
    #: By a rule of the account, of the exchange or of a safeguard: `code` and `reason` say which.
    DENIED = "denied"
    #: Nobody acted upon it: it came too late, the feed was stale, the bot was suspended.
    SKIPPED = "skipped"
    #: By its owner.
    REJECTED = "rejected"
    #: Nobody said anything in time, or the server was away for too long.
    EXPIRED = "expired"


class EventLevel(StrEnum):
    """How much a line of the log matters."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class TripAction(StrEnum):
    """What a safeguard does when it trips."""

    SUSPEND = "suspend"
    FLATTEN = "flatten"


class Bot(Identified, Owned, Base):
    """A strategy version with its parameters, an account, a symbol and a timeframe: one period of trading by itself."""

    __tablename__ = "bots"
    __table_args__ = (
        one_of("mode", BotMode),
        one_of("state", BotState),
        one_of("at_end", AtEnd),
        # Not ON DELETE CASCADE: a strategy that bots ran is archived, not deleted. A removed user takes both along.
        ForeignKeyConstraint(["strategy_id", "user_id"], ["strategies.id", "strategies.user_id"], name="fk_bots_strategy"),
        UniqueConstraint("user_id", "number", name="uq_bots_user_id_number"),
        CheckConstraint("number >= 1", name="number_counts"),
        CheckConstraint(f"char_length(name) BETWEEN 1 AND {LONGEST_NAME}", name="name_length"),
        CheckConstraint("capital > 0", name="capital_is_money"),
        CheckConstraint("end_at IS NULL OR start_at IS NULL OR start_at < end_at", name="start_before_end"),
        CheckConstraint("(started_at IS NULL) <= (state IN ('ready', 'stopped'))", name="started_has_its_time"),
        CheckConstraint("(stopped_at IS NOT NULL) = (state = 'stopped')", name="end_has_its_time"),
        CheckConstraint("state <> 'faulted' OR fault IS NOT NULL", name="fault_is_told"),
        Index("ix_bots_live", "symbol", "timeframe", postgresql_where=text(LIVE_SQL)),
        Index("ix_bots_selling", "id", postgresql_where=text("sell_asked_at IS NOT NULL")),
        Index("ix_bots_strategy_id_user_id", "strategy_id", "user_id"),
        Index("uq_bots_user_id_idempotency_key", "user_id", "idempotency_key", unique=True),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    #: From 1 for each user, never given twice: #7.
    number: Mapped[int] = mapped_column(Integer)
    name: Mapped[str]
    strategy_id: Mapped[UUID]
    version_id: Mapped[UUID] = mapped_column(ForeignKey("strategy_versions.id"), index=True)
    #: Values of the strategy's parameters that differ from its own.
    parameters: Mapped[dict[str, Any]] = mapped_column(JSONB)
    #: Where its orders go.
    broker_id: Mapped[UUID] = mapped_column(ForeignKey("brokers.id"), index=True)
    #: Whose candles it decides on: the one that the heartbeat follows.
    exchange: Mapped[str]
    symbol: Mapped[str]
    timeframe: Mapped[str]
    mode: Mapped[str]
    state: Mapped[str] = mapped_column(server_default=BotState.READY.value)
    #: Why it is in that state, or what it waits for: `message`, an English sentence with names for its `values`. None: nothing to say.
    state_reason: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    #: Quote units that it was given.
    capital: Mapped[Decimal]
    #: It decides nothing before; None: as soon as it is started.
    start_at: Mapped[datetime | None]
    #: Then it stops by itself; None: never.
    end_at: Mapped[datetime | None]
    #: What becomes of its position at `end_at`.
    at_end: Mapped[str] = mapped_column(server_default=AtEnd.KEEP.value)
    #: See `domain.safeguards.Safeguards`.
    safeguards: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    #: The backtest that it was promoted from; it may be gone.
    backtest_id: Mapped[UUID | None]
    created_at: Mapped[datetime]
    #: When it was first started.
    started_at: Mapped[datetime | None]
    stopped_at: Mapped[datetime | None]
    #: Quote units; the highest equity at any close. None before the first.
    peak_equity: Mapped[Decimal | None]
    #: Open time of the last candle that it was asked about, whatever came of it.
    last_candle_at: Mapped[datetime | None]
    #: Open time of the last candle at which its strategy wanted something.
    last_signal_at: Mapped[datetime | None]
    #: What its strategy did wrong: `code`, `message`, `line`, `traceback`, `at`.
    fault: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    #: Since when its position is to be sold, whatever comes between; None: it is not.
    sell_asked_at: Mapped[datetime | None]
    #: What whoever made it called the wish: the same name again makes no second bot.
    idempotency_key: Mapped[str | None]
    #: Grows with every change of its state.
    revision: Mapped[int] = mapped_column(Integer, server_default=text("0"))


class BotSignal(Identified, Owned, Base):
    """What a bot's strategy wanted at one candle, and what became of it. Written before anything is sent."""

    __tablename__ = "bot_signals"
    __table_args__ = (
        one_of("action", SignalAction),
        one_of("state", SignalState),
        UniqueConstraint("bot_id", "open_time", name="uq_bot_signals_bot_id_open_time"),
        Index("ix_bot_signals_open", "bot_id", postgresql_where=text("state IN ('decided', 'waiting', 'submitted')")),
        Index("ix_bot_signals_wanted", "bot_id", "open_time", postgresql_where=text("action <> 'none'")),
        Index("ix_bot_signals_user_id", "user_id"),
    )

    bot_id: Mapped[UUID] = mapped_column(ForeignKey("bots.id", ondelete="CASCADE"))
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    #: Of the candle that closed.
    open_time: Mapped[datetime]
    decided_at: Mapped[datetime]
    #: See `sandbox.messages.Decision`; empty where the strategy was not asked. `output` is what it printed.
    decision: Mapped[dict[str, Any]] = mapped_column(JSONB)
    action: Mapped[str]
    state: Mapped[str]
    #: `message` and `values`, as `bots.state_reason`.
    reason: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    #: Quote units: what the market would have taken when it decided, else the candle's close.
    price: Mapped[Decimal | None]
    order_ids: Mapped[list[UUID]] = mapped_column(ARRAY(PG_UUID(as_uuid=True)), server_default=text("'{}'"))
    #: Who approved or rejected it, in mode ask.
    answered_by: Mapped[str | None]
    #: Of what refused it.
    code: Mapped[str | None] = mapped_column(Text)
    #: Milliseconds since the candle's close: `heard`, `decided`, `acknowledged`.
    latency_ms: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))


class BotEvent(Owned, Base):
    """One line of a bot's log."""

    __tablename__ = "bot_events"
    __table_args__ = (
        one_of("level", EventLevel),
        Index("ix_bot_events_bot_id_id", "bot_id", "id"),
        Index("ix_bot_events_user_id_id", "user_id", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    bot_id: Mapped[UUID] = mapped_column(ForeignKey("bots.id", ondelete="CASCADE"))
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    at: Mapped[datetime]
    level: Mapped[str]
    #: A stable word: `started`, `entry`, `no_entry`, `faulted`… (`bots.log`).
    kind: Mapped[str]
    #: An English sentence with names in place of its values.
    message: Mapped[str]
    values: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))


class BotEquity(Owned, Base):
    """What a bot was worth at a close."""

    __tablename__ = "bot_equity"
    __table_args__ = (Index("ix_bot_equity_user_id_at", "user_id", "at"),)

    bot_id: Mapped[UUID] = mapped_column(ForeignKey("bots.id", ondelete="CASCADE"), primary_key=True)
    #: The candle's close time.
    at: Mapped[datetime] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    #: Quote units: capital, realised profit and position.
    equity: Mapped[Decimal]
    position_quantity: Mapped[Decimal]
    #: The candle's close.
    price: Mapped[Decimal]


class BotTrip(Identified, Owned, Base):
    """A safeguard that tripped, until somebody arms it again."""

    __tablename__ = "bot_trips"
    __table_args__ = (
        one_of("action", TripAction),
        CheckConstraint("(rearmed_at IS NULL) = (rearmed_by IS NULL)", name="rearmed_by_somebody"),
        Index("ix_bot_trips_active", "user_id", "bot_id", postgresql_where=text("rearmed_at IS NULL")),
        Index("ix_bot_trips_bot_id", "bot_id"),
        # One of each rule until it is armed again.
        Index("uq_bot_trips_of_bot", "bot_id", "rule", unique=True, postgresql_where=text("rearmed_at IS NULL AND bot_id IS NOT NULL")),
        Index("uq_bot_trips_of_user", "user_id", "rule", unique=True, postgresql_where=text("rearmed_at IS NULL AND bot_id IS NULL")),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    #: None: a safeguard of all the user's bots together.
    bot_id: Mapped[UUID | None] = mapped_column(ForeignKey("bots.id", ondelete="CASCADE"))
    rule: Mapped[str]
    at: Mapped[datetime]
    #: Why, with the numbers: `message` and `values`, as `bots.state_reason`; of all bots together also `quote`, the currency.
    values: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    action: Mapped[str]
    rearmed_at: Mapped[datetime | None]
    rearmed_by: Mapped[str | None]
    #: Quote units; the equity at that moment, from which on it counts. None where it is not about equity, or nobody knew.
    rearmed_equity: Mapped[Decimal | None]


class UserSafeguards(Owned, Base):
    """Safeguards of all of a user's bots together."""

    __tablename__ = "user_safeguards"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    #: See `domain.safeguards.Safeguards`.
    safeguards: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    #: The highest profit of all bots together at any look, by quote currency, as text.
    peaks: Mapped[dict[str, str]] = mapped_column(JSONB, server_default=text("'{}'"))


class BotCounter(Owned, Base):
    """The last number that a user's bot was given."""

    __tablename__ = "bot_counters"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    last_number: Mapped[int] = mapped_column(Integer)
