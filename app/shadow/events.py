"""What comparisons tell the rest of the process. Published after the commit that made it true."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowAsked:
    """Somebody wants a bot compared now."""

    bot_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowChanged:
    """A comparison was asked for, begun, or is over."""

    user_id: UUID
    bot_id: UUID
    state: str
