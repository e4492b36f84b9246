"""What groups of trades are called, where a name is somebody's own; codes (a role, a source) are translated by who shows them."""

from typing import Any

from app.statistics.queries import Names


def name_of(dimension: str, key: Any, names: Names) -> str | None:
    """Return what a group is called; None where nobody wrote down what its trades have in common, or where it is gone."""
    if key is None:
        return None
    if dimension == "strategy":
        return names.strategies.get(key)
    if dimension == "webhook":
        return names.webhooks.get(key)
    if dimension == "bot":
        bot = names.bots.get(key)
        return None if bot is None else f"#{bot.number} {bot.name}"
    if dimension == "account":
        return next((account.name for account in names.accounts if account.id == key), None)
    return str(key)


def month_of(key: int) -> str:
    """Return months since 1970-01 as 2026-11."""
    return f"{1970 + key // 12:04d}-{key % 12 + 1:02d}"
