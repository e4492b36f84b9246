"""What bots tell the rest of the process. Published after the commit that made it true."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class BotChanged:
    """A bot was made, deleted, or is in another state; its position or what it is worth has changed."""

    user_id: UUID
    bot_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class BotSignalled:
    """A bot decided at a candle, or something came of what it had decided."""

    user_id: UUID
    bot_id: UUID
    signal_id: UUID
    open_time: datetime
    action: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BotLogged:
    """A bot's log has a new line."""

    user_id: UUID
    bot_id: UUID
    level: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BotAsked:
    """Something was asked of a bot that the engine has to see to: it was started, suspended, stopped, or is to be sold."""

    bot_id: UUID
