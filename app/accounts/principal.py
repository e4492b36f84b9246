"""Who is asking: what every request is told about its user."""

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from app.accounts.models import Language, Theme, TokenScope
from app.domain.currencies import Currency

#: Parameters: what `condition` names, now, the moment since which the session must have been used, and since which a code counts as fresh.
FIND_PRINCIPAL: Final = """
SELECT s.id AS session_id, s.last_seen_at, u.id AS user_id, u.username, u.is_admin, u.is_dev, u.theme, u.language, u.display_timezone,
       u.has_shortcuts, u.confirm_orders, u.currency, coalesce(s.verified_at < $4, true)
         AND EXISTS (SELECT 1 FROM second_factors f WHERE f.user_id = u.id AND f.confirmed_at IS NOT NULL) AS needs_code
  FROM user_sessions s JOIN users u ON u.id = s.user_id
 WHERE {condition} AND s.ended_at IS NULL AND s.expires_at > $2 AND s.last_seen_at > $3 AND u.is_active
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who is asking."""

    user_id: UUID
    session_id: UUID
    username: str
    is_admin: bool
    is_dev: bool
    theme: Theme
    language: Language
    display_timezone: str
    currency: Currency
    #: What an API token may do; None for a session, which may do everything. `session_id` is then the token's id.
    scopes: frozenset[TokenScope] | None = None
    #: There is a second factor, and this session gave no code of it lately.
    needs_code: bool = False
    #: Single keys, without a modifier, do something in pages.
    has_shortcuts: bool = True
    #: Whether their order ticket asks once more before it sends.
    confirm_orders: bool = True


def principal_of(row: Any) -> Principal:
    """Return the session's user from a row of `FIND_PRINCIPAL`."""
    return Principal(
        user_id=row["user_id"],
        session_id=row["session_id"],
        username=row["username"],
        is_admin=row["is_admin"],
        is_dev=row["is_dev"],
        theme=Theme(row["theme"]),
        language=Language(row["language"]),
        display_timezone=row["display_timezone"],
        confirm_orders=row["confirm_orders"],
        currency=Currency(row["currency"]),
        needs_code=row["needs_code"],
        has_shortcuts=row["has_shortcuts"],
    )
