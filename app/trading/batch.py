"""One wish on several accounts at once. Each is sized by itself and sent under its own key; one that fails stops none of the others."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar
from uuid import UUID

import structlog

from app.core.i18n import N_
from app.domain.ticket import Size
from app.errors import AppError
from app.trading.desk import Desk
from app.trading.preview import Preview, preview
from app.trading.wish import Books, Placed, Wish, place_wish

log = structlog.get_logger(__name__)

T = TypeVar("T")

_BROKEN: Final = N_("Something went wrong here. The order may or may not have been sent; look among your orders before you try again.")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountResult(Generic[T]):
    """What came of one account: a value, or the problem."""

    broker_id: UUID
    value: T | None
    problem: AppError | None


async def place_on_each(
    desk: Desk,
    user_id: UUID,
    wish: Wish,
    broker_ids: Sequence[UUID],
    *,
    books: Books | None = None,
    sizes: Mapping[UUID, Size] | None = None,
) -> list[AccountResult[Placed]]:
    """Send the wish to each account at once, and return each one's result, in the order given.

    Args:
        desk: What trading works with.
        user_id: Whose accounts they are.
        wish: What to send; the key of an account's order is the wish's with the account's id behind it.
        broker_ids: The accounts; one that is named twice gets one order.
        books: Where a size by risk learns what the book costs.
        sizes: How much on each account, instead of the wish's own size.
    """

    async def place(broker_id: UUID) -> Placed:
        own = wish.with_key(f"{wish.intent.key}:{broker_id}")
        if sizes is not None and broker_id in sizes:
            own = replace(own, size=sizes[broker_id])
        return await place_wish(desk, user_id, own, broker_id=broker_id, books=books)

    # Each runs to its end: what one raises must not cancel another that may have left already.
    ids = list(dict.fromkeys(broker_ids))
    results = await asyncio.gather(*(place(broker_id) for broker_id in ids), return_exceptions=True)
    return [_result(broker_id, found) for broker_id, found in zip(ids, results, strict=True)]


async def preview_on_each(
    desk: Desk, user_id: UUID, wish: Wish, broker_ids: Sequence[UUID], *, books: Books | None = None
) -> list[AccountResult[Preview]]:
    """Return what the wish would be on each account, in the order given."""
    ids = list(dict.fromkeys(broker_ids))
    asked = (preview(desk, user_id, wish, broker_id=broker_id, books=books) for broker_id in ids)
    results = await asyncio.gather(*asked, return_exceptions=True)
    return [_result(broker_id, found) for broker_id, found in zip(ids, results, strict=True)]


def _result(broker_id: UUID, found: T | BaseException) -> AccountResult[T]:
    if isinstance(found, AppError):
        return AccountResult(broker_id=broker_id, value=None, problem=found)
    if isinstance(found, Exception):
        log.error("order_of_many_failed", broker_id=str(broker_id), exc_info=found)
        return AccountResult(broker_id=broker_id, value=None, problem=AppError(_BROKEN))
    if isinstance(found, BaseException):
        raise found
    return AccountResult(broker_id=broker_id, value=found, problem=None)
