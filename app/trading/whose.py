"""Whose position a row is about, in SQL: a bot's own, or the hand's, whose rows have no `bot_id`.

Several bots and the hand may hold one symbol on one account. Each has its own position and its own protection; none sells another's units.
"""

from typing import Final

#: Stands for the hand where NULL cannot: no index finds rows by IS NOT DISTINCT FROM, and in a unique one every NULL is another's.
_HAND: Final = "'00000000-0000-0000-0000-000000000000'::uuid"


def whose(bot_id: str) -> str:
    """Return the expression of `bot_id` (a column or a parameter) that the indexes hold."""
    return f"coalesce({bot_id}, {_HAND})"


def same(left: str, right: str) -> str:
    """Return the condition that both are one bot's, or both the hand's."""
    return f"{whose(left)} = {whose(right)}"


#: Where a bot, or the hand, has at most one open position and one active protection: what ON CONFLICT names.
PLACE: Final = f"(broker_id, symbol, {whose('bot_id')})"
