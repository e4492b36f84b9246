"""What webhooks publish after their commits."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryChanged:
    """A delivery came in or was decided."""

    user_id: UUID
    delivery_id: UUID
