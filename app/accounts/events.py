"""What accounts publish after their commits."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferencesChanged:
    """Somebody chose something else; their open pages follow. `default_broker_id` is given when that was chosen."""

    user_id: UUID
    default_broker_id: UUID | None = None
