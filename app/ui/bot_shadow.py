"""A bot beside its shadow as its page shows it: the figures, the causes in plain words, and the two curves."""

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from app.core.i18n import gettext
from app.core.sentences import filled, said, said_with
from app.domain.candles import from_milliseconds
from app.shadow.causes import LABELS, Cause
from app.shadow.models import BotShadow as Stored
from app.ui.views.bot_shadow import BotShadow, CauseRow, Curves, DifferenceRow

#: Rows of the list; those of most money and the newest ones of the others.
_MOST_ROWS: Final = 200
_WIDTH: Final = 600
_HEIGHT: Final = 160
_EDGE: Final = 4
#: What no cause was found for is nothing below this part of the capital.
_DUST: Final = Decimal("1e-8")


def shadow_region(newest: Stored | None, result: Stored | None, *, number: int, quote: str, can_compare: bool) -> BotShadow:
    """Return the region: how far the newest comparison is, and the newest result."""
    state = "none" if newest is None else newest.state
    problem = said(str(newest.error["message"])) if newest is not None and newest.state == "failed" and newest.error else ""
    bare = BotShadow(number=number, quote=quote, state=state, can_compare=can_compare, problem=problem)  # type: ignore[arg-type]  # the column has a check
    if result is None or result.live is None or result.shadow is None:
        return bare
    rows = sorted(result.differences or (), key=lambda one: (one["cause"] != Cause.DECISION, -abs(Decimal(one["money"])), -one["at"]))
    header: Mapping[str, Any] = result.header
    capital = Decimal(header["capital"])
    rest = result.rest or Decimal(0)
    return BotShadow(
        number=number,
        quote=quote,
        state=bare.state,
        can_compare=can_compare,
        problem=problem,
        compared_at=result.finished_at,
        until_at=result.until_at,
        live=result.live,
        shadow=result.shadow,
        rest=Decimal(0) if abs(rest) < capital * _DUST else rest,
        live_trades=result.live_trades or 0,
        shadow_trades=result.shadow_trades or 0,
        taker=Decimal(header["fee"]),
        maker=Decimal(header["maker_fee"]),
        slippage=Decimal(header["slippage"]),
        capital=capital,
        is_loud=Cause.DECISION.value in result.causes,
        causes=_causes(result.causes, rows),
        differences=tuple(_row(one) for one in sorted(rows[:_MOST_ROWS], key=lambda one: -one["at"])),
        curves=_curves(result.curve or ()),
        more=max(0, len(rows) - _MOST_ROWS),
    )


def label_of(cause: str) -> str:
    """Return how a cause is called, in the language spoken here."""
    known = cause in set(Cause)
    return gettext(LABELS[Cause(cause)]) if known else cause


def _causes(sums: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> tuple[CauseRow, ...]:
    counts = Counter(one["cause"] for one in rows)
    money = {cause: Decimal(amount) for cause, amount in sums.items()}
    largest = max((abs(amount) for amount in money.values()), default=Decimal(0))
    order = sorted(money, key=lambda cause: (cause != Cause.DECISION, -abs(money[cause])))
    return tuple(
        CauseRow(
            code=cause,
            label=label_of(cause),
            money=money[cause],
            count=counts[cause],
            share=int(abs(money[cause]) / largest * 100) if largest else 0,
        )
        for cause in order
    )


def _row(one: Mapping[str, Any]) -> DifferenceRow:
    at = from_milliseconds(one["at"])
    # What it was for is a word of the catalogue itself.
    values = {name: gettext(value) if name == "what" else said(value) for name, value in one["values"].items()}
    return DifferenceRow(
        at=at,
        cause=one["cause"],
        label=label_of(one["cause"]),
        words=said_with(one["message"], values) if values else gettext(filled(one["message"], {})),
        money=Decimal(one["money"]),
        code=one["code"] or "",
        orders=tuple(one["order_ids"]),
        signal=one["signal_id"] or "",
        before=from_milliseconds(one["at"] + 1).isoformat().replace("+00:00", "Z"),
    )


def _curves(points: Sequence[Sequence[float]]) -> Curves | None:
    if len(points) < 2:  # a line has two ends
        return None
    values = [value for _, live, shadow in points for value in (live, shadow)]
    low, high, first, last = min(values), max(values), points[0][0], points[-1][0]
    span, length = high - low or 1.0, last - first or 1

    def line(column: int) -> str:
        places = []
        for point in points:
            x = (point[0] - first) / length * _WIDTH
            y = _EDGE + (high - point[column]) / span * (_HEIGHT - 2 * _EDGE)
            places.append(f"{x:.1f},{y:.1f}")
        return " ".join(places)

    return Curves(
        live=line(1),
        shadow=line(2),
        highest=Decimal(repr(high)),
        lowest=Decimal(repr(low)),
        since=from_milliseconds(int(first)),
        until=from_milliseconds(int(last)),
    )
