"""Reading: from the bytes of an alert, in any of the ways traders write them, to what it means. Pure: no I/O, no clock."""

from app.webhooks.reading.identity import delivery_key
from app.webhooks.reading.reader import read_message
from app.webhooks.reading.secrets import masked_text, masked_value

__all__ = ["delivery_key", "masked_text", "masked_value", "read_message"]
