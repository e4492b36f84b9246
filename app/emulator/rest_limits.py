"""What a client may ask about its limits."""

from app.emulator.calls import SignedCall
from app.emulator.venue import Venue


def order_counts(venue: Venue, call: SignedCall) -> object:
    """GET /api/v3/rateLimit/order: the account's unfilled orders, beside what is allowed."""
    return venue.limits.describe_orders(call.account.api_key)
