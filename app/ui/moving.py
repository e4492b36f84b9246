"""What a line of the chart that was put elsewhere asks for: an order's other price, a position's other stop or target."""

from dataclasses import replace
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Literal
from uuid import UUID

from app.brokers.service import get_broker
from app.core.i18n import gettext, pgettext
from app.domain.instruments import plain
from app.errors import InvalidInput, NotFound
from app.trading import queries as trading
from app.trading.schemas import parse_decimal
from app.ui.guarding import form_of
from app.ui.labels import label
from app.ui.order_rows import order_row
from app.ui.regions import Regions
from app.ui.views import GuardForm, MoveField, MoveQuestion, TargetField


def _price(text: str) -> Decimal | None:
    if not text.strip():
        return None
    try:
        found = parse_decimal(text)
    except ValueError:
        found = Decimal(0)
    if found <= 0:
        raise InvalidInput(gettext("This must be a number above 0, such as 0.01, without spaces."), field="price")
    return found


def _on_tick(price: Decimal, tick: Decimal | None) -> Decimal:
    return price if tick is None else max((price / tick).to_integral_value(ROUND_HALF_EVEN), Decimal(1)) * tick


async def order_question(regions: Regions, order_id: UUID, *, price: str) -> MoveQuestion:
    """Return the question about an order's line.

    Args:
        regions: Of the user who asks.
        order_id: The order.
        price: Where its line was put, in the quote asset; it is put on the nearest tick. Empty: where it is, to be changed in the form.

    Raises:
        OrderNotFound: no such order of this user.
        NotFound: it has no price.
        InvalidInput: a price that is none.
    """
    wanted = _price(price)
    row = await trading.get_order(regions.app.state.database, regions.user_id, order_id)
    async with regions.app.state.database.transaction() as session:
        account = await get_broker(session, regions.user_id, row["broker_id"])
    rules = await regions.rule_of(account.exchange, row["symbol"])
    shown = order_row(row, broker=account.name, rules=rules)
    old = row["trigger_price"] if row["trigger_price"] is not None else row["price"]
    if old is None:
        raise NotFound("there is no such line")
    new = old if wanted is None else _on_tick(wanted, shown.tick)
    question = MoveQuestion(
        kind="order",
        symbol=row["symbol"],
        quote=row["symbol"].partition("/")[2],
        broker=account.name,
        what=f"{label(shown.type.value)} {label(shown.side.value)}",
        old=old,
        new=new,
        address=f"/trading/orders/{order_id}/amend",
        fields=_order_fields(row, new),
        env=regions.environment(account),
        tick=shown.tick,
    )
    if shown.is_amendable:
        return question
    words = gettext("This order belongs to a pair or guards a position: change that instead.")
    return replace(question, error=words if shown.is_open else gettext("This order is no longer open."))


def _order_fields(row: Any, new: Decimal) -> tuple[MoveField, ...]:
    """A stop's limit goes with its trigger, at the distance it has."""
    quantity = MoveField(name="quantity", value=plain(row["quantity"]), is_shown=True)
    if row["trigger_price"] is None:
        return (MoveField(name="price", value=plain(new), is_shown=True, is_moved=True), quantity)
    trigger = MoveField(name="trigger_price", value=plain(new), is_shown=True, is_moved=True)
    if row["price"] is None:
        return (trigger, quantity)
    return (trigger, MoveField(name="price", value=plain(row["price"] + new - row["trigger_price"]), is_shown=True), quantity)


async def guard_question(
    regions: Regions, position_id: UUID, kind: Literal["stop", "target"], *, price: str, number: int = 0
) -> MoveQuestion:
    """Return the question about the line of a position's stop, or of one of its targets.

    Args:
        regions: Of the user who asks.
        position_id: The position.
        kind: Which line.
        price: As for an order.
        number: Which target of those that were not reached yet, from 0.

    Raises:
        NotFound: no such open position of this user, or no such line.
        InvalidInput: a price that is none.
    """
    wanted = _price(price)
    position, guard = await regions.position(position_id)
    form = form_of(position, guard)
    given = [target for target in form.targets if target.price]
    if guard is None or (kind == "target" and number >= len(given)):
        raise NotFound("there is no such line")
    old = form.stop_loss if kind == "stop" else given[number].price
    if not old:
        raise NotFound("there is no such line")
    new = Decimal(old) if wanted is None else _on_tick(wanted, position.tick)
    moved = None
    if kind == "target":
        moved = given[number] = TargetField(price=plain(new), percent=given[number].percent)
    return MoveQuestion(
        kind=kind,
        symbol=position.symbol,
        quote=position.quote,
        broker=position.broker,
        what=pgettext("price", "Stop") if kind == "stop" else gettext("Target"),
        old=Decimal(old),
        new=new,
        address=f"/positions/{position_id}/guard",
        fields=_guard_fields(form, given, moved, new if kind == "stop" else None),
        env=position.env,
        tick=position.tick,
    )


def _guard_fields(form: GuardForm, targets: list[TargetField], moved: TargetField | None, stop: Decimal | None) -> tuple[MoveField, ...]:
    """The form that guards a position, filled in as it is but for what was moved; a stop's limit keeps its distance."""
    limit = form.stop_limit_price
    if stop is not None and limit and form.stop_loss:
        limit = plain(Decimal(limit) + stop - Decimal(form.stop_loss))
    is_stop = stop is not None
    fields = [
        MoveField(name="stop_loss", value=form.stop_loss if stop is None else plain(stop), is_shown=is_stop, is_moved=is_stop),
        MoveField(name="stop_limit_price", value=limit),
        MoveField(name="trailing_percent", value=form.trailing_percent),
        MoveField(name="break_even_after", value=form.break_even_after),
    ]
    for target in targets:
        is_it = target is moved
        fields.append(MoveField(name="target_price", value=target.price, is_shown=is_it, is_moved=is_it))
        fields.append(MoveField(name="target_percent", value=target.percent))
    return tuple(field for field in fields if field.value)
