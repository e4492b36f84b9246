"""What webhooks publish after their commits."""

from dataclasses import dataclass
from uuid import UUID

from app.webhooks.models import Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryChanged:
    """A delivery came in or was decided."""

    user_id: UUID
    delivery_id: UUID
    decision: Decision
