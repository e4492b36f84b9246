"""Two orders in one request: a pair of which the venue lets one trade, or one that takes another's place. Claimed together, settled each.

Whatever the venue's answer is, both orders' fates are written down; a doubt leaves both in doubt, and reconcile asks for each.
"""

from app.core.crash_points import reach
from app.core.ids import client_order_id
from app.domain.enums import OrderState
from app.domain.orders import Denied, InDoubt, OrderEvent, Rejected
from app.errors import Conflict
from app.exchanges.port import ExchangeClient, OcoReport, OcoRequest, ReplaceOutcome
from app.trading.apply import record
from app.trading.claim import claim_alone, claim_pair
from app.trading.desk import Desk
from app.trading.records import OrderRecord
from app.trading.send import as_it_is, hear

_STILL_STANDS = "the exchange did not replace the order; the old one still stands"


async def send_pair(desk: Desk, target: OrderRecord, stop: OrderRecord, client: ExchangeClient) -> tuple[OrderRecord, OrderRecord]:
    """Send a limit and a stop as one pair, and return both as they then stand.

    Raises:
        Fenced: this process does not own the engine role; nothing was sent.
    """
    if {target.id, stop.id} & desk.in_flight:
        return target, stop
    desk.in_flight.update((target.id, stop.id))
    try:
        claimed = await claim_pair(desk, target.id, stop.id)
        if isinstance(claimed, Denied):
            return await _deny(desk, target, claimed), await _deny(desk, stop, claimed)
        if not claimed:
            return await _without_other_half(desk, target), await _without_other_half(desk, stop)
        target, stop = claimed
        assert target.sent_at is not None  # noqa: S101  # the claim sets it
        reach("P2")
        request = OcoRequest(
            list_client_order_id=client_order_id(stop.broker_id, f"{stop.key}:list", leg=stop.leg, attempt=stop.attempt),
            target=target.request(target.sent_at),
            stop=stop.request(target.sent_at),
        )
        answer = await hear(desk, stop, client, lambda guard: client.place_oco(request, guard=guard))
        reach("P4")
        if isinstance(answer, OcoReport):
            return await _record(desk, target, answer.target), await _record(desk, stop, answer.stop)
        return await _record(desk, target, answer), await _record(desk, stop, answer)
    finally:
        desk.in_flight.difference_update((target.id, stop.id))


async def send_replacement(desk: Desk, old: OrderRecord, new: OrderRecord, client: ExchangeClient) -> tuple[OrderRecord, OrderRecord]:
    """Let `new` take the place of `old` in one request, and return both as they then stand.

    Raises:
        Fenced: this process does not own the engine role; nothing was sent.
    """
    if new.id in desk.in_flight:
        return old, new
    desk.in_flight.add(new.id)
    try:
        claimed = await claim_alone(desk, new.id)
        if isinstance(claimed, Denied):
            return old, await _deny(desk, new, claimed)
        if claimed is None:
            return old, await as_it_is(desk, new)
        new = claimed
        assert new.sent_at is not None  # noqa: S101  # the claim sets it
        request = new.request(new.sent_at)
        answer = await hear(
            desk,
            new,
            client,
            lambda guard: client.replace_order(
                request, old_client_order_id=old.client_order_id, old_venue_order_id=old.venue_order_id, guard=guard
            ),
        )
        if not isinstance(answer, ReplaceOutcome):
            return old, await _record(desk, new, answer)
        if answer.canceled is not None:
            old = await _record(desk, old, answer.canceled)
        refused = Rejected(code="REPLACE_REFUSED", detail=answer.refusal or _STILL_STANDS)
        return old, await _record(desk, new, answer.created or refused)
    finally:
        desk.in_flight.discard(new.id)


async def _without_other_half(desk: Desk, half: OrderRecord) -> OrderRecord:
    """Neither half was claimed, because one of them could not be: the one that could have been goes nowhere alone."""
    found = await as_it_is(desk, half)
    if found.state is not OrderState.INTENT or not desk.lease.is_held:
        return found
    return await _deny(desk, half, Denied(code="OTHER_HALF_GONE", detail="the other order of the pair could not be sent any more"))


async def _deny(desk: Desk, order: OrderRecord, refusal: Denied) -> OrderRecord:
    return await record(desk, order.id, refusal, only_from=OrderState.INTENT)


async def _record(desk: Desk, order: OrderRecord, event: OrderEvent) -> OrderRecord:
    try:
        return await record(desk, order.id, event)
    except Conflict as error:
        # The venue gave it an id that an older order has: it stays in doubt and is shown so.
        return await record(desk, order.id, InDoubt(detail=error.message))
