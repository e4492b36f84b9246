"""What pages show of how positions are guarded, built from the tables."""

from collections.abc import Mapping
from decimal import ROUND_DOWN, Decimal
from typing import Any, Final

from app.domain.instruments import Instrument, plain
from app.domain.protection import Target, load_plan
from app.trading.queries import MarkedPosition
from app.ui.views import Environment, GuardForm, GuardRow, PositionFacts, TargetField, TargetRow, Watch

_WATCHES: Final[dict[str, Watch]] = {"pairs": "there", "stop_at_venue": "mixed", "supervised": "here"}
_FEWEST_TARGETS: Final = 2
#: What the API takes.
MOST_TARGETS: Final = 20


def guard_row(row: Any) -> GuardRow:
    """Return how a position is guarded, of a row of `oversight_queries.list_guards`."""
    plan = load_plan(row["plan"])
    reached = row["reached"] or ()
    return GuardRow(
        watch=_watch(row),
        stop=plan.stop_price,
        stop_limit=plan.stop_limit_price,
        trailing=plan.trailing_delta,
        targets=tuple(TargetRow(price=item.at, fraction=item.fraction, is_reached=item.price in reached) for item in plan.targets),
        break_even_after=plan.break_even_after,
        since=row["unprotected_since"],
        alarm=(row["detail"] or "") if row["code"] else "",
    )


def _watch(row: Any) -> Watch:
    """Who watches, as the orders themselves say: an exchange without pairs, say, has never been given any."""
    if row["stops_here"] or (row["targets_here"] and not row["orders_there"]):
        return "here"
    if row["targets_here"]:
        return "mixed"
    return "there" if row["orders_there"] else _WATCHES[row["mode"]]


def facts(position: MarkedPosition, *, broker: str, env: Environment, rules: Instrument | None) -> PositionFacts:
    """Return what a dialog says of the position it is about."""
    row = position.row
    quantity = abs(row["quantity"])
    return PositionFacts(
        id=str(row["id"]),
        symbol=row["symbol"],
        base=row["base"],
        quote=row["quote"],
        quantity=quantity,
        average_price=row["average_price"] or Decimal(0),
        broker=broker,
        is_short=row["quantity"] < 0,
        env=env,
        mark_price=position.mark_price,
        worth=None if position.mark_price is None else quantity * position.mark_price,
        tick=rules.tick_size if rules else None,
        step=rules.step_size if rules else None,
    )


def form_of(position: PositionFacts, guard: Any) -> GuardForm:
    """Return the form with what guards the position now (a row of `list_guards`, or None)."""
    if guard is None:
        return GuardForm(position=position, targets=_padded(()))
    plan = load_plan(guard["plan"])
    reached = guard["reached"] or ()
    # Parts are of the whole that was guarded; the form speaks of what is held now.
    scale = guard["base_quantity"] / position.quantity if position.quantity else Decimal(1)
    left = [target for target in plan.targets if target.price not in reached]
    fields = _fields(left, scale)
    after = None if plan.break_even_after is None else plan.break_even_after - (len(plan.targets) - len(left))
    return GuardForm(
        position=position,
        stop_loss=_text(plan.stop_price),
        stop_limit_price=_text(plan.stop_limit_price),
        trailing_percent=_text(None if plan.trailing_delta is None else plan.trailing_delta * 100),
        targets=_padded(fields),
        break_even_after=str(after) if after is not None and 1 <= after <= len(fields) else "",
        is_guarded=True,
    )


def form_again(position: PositionFacts, given: Mapping[str, Any], *, is_guarded: bool, errors: dict[str, str]) -> GuardForm:
    """Return the form as it was sent, with what is wrong."""
    typed = {name: given[name] or "" for name in ("stop_loss", "stop_limit_price", "trailing_percent", "break_even_after")}
    targets = tuple(TargetField(price=item["price"], percent=item["percent"]) for item in given["take_profits"])
    return GuardForm(position=position, targets=_padded(targets), is_guarded=is_guarded, errors=errors, **typed)


def _fields(targets: list[Target], scale: Decimal) -> tuple[TargetField, ...]:
    """What each target sells of what is held; one that nothing is left for is none any more, and a part of nothing cannot be sent."""
    room = Decimal(100)
    fields = []
    for target in targets:
        percent = min((target.fraction * scale * 100).quantize(Decimal("0.01"), rounding=ROUND_DOWN), room)
        room -= percent
        if percent > 0:
            fields.append(TargetField(price=plain(target.at), percent=plain(percent)))
    return tuple(fields)


def _padded(targets: tuple[TargetField, ...]) -> tuple[TargetField, ...]:
    """With at least one more row than is used."""
    rows = min(max(_FEWEST_TARGETS, len(targets) + 1), MOST_TARGETS)
    return targets + (TargetField(),) * (rows - len(targets))


def _text(value: Decimal | None) -> str:
    return "" if value is None else plain(value)
