"""Between the rows of positions and fills, and the fold of `domain.positions`."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from app.domain.enums import Side
from app.domain.orders import Fill
from app.domain.positions import Position, cost_of, fee_in_quote


def position_of(row: Any, symbol: str) -> Position:
    """Return the position of a row of `positions`. Rows of before its cost was kept have none: it is what their average makes."""
    base, _, quote = symbol.partition("/")
    cost = row["cost"]
    return Position(
        base=base,
        quote=quote,
        quantity=row["quantity"],
        average_price=row["average_price"],
        cost=cost_of(row["quantity"], row["average_price"]) if cost is None else cost,
        realized_pnl=row["realized_pnl"],
        fees=row["fees"],
        unvalued_fees={asset: Decimal(fee) for asset, fee in row["unvalued_fees"].items()},
    )


def folded(position: Position, side: Side, fills: Sequence[Fill], fee_prices: Mapping[str, Decimal | None]) -> Position:
    """Return the position after the fills of one order, in their order; `fee_prices` by trade id as `trading.fee_prices` knows them."""
    for fill in fills:
        position = position.apply(side, fill, fee_price=fee_prices.get(fill.trade_id))
    return position


def fee_values(symbol: str, fills: Sequence[Fill], fee_prices: Mapping[str, Decimal | None]) -> list[Decimal | None]:
    """Return what each fill's fee was worth in quote, None where nobody knows."""
    base, _, quote = symbol.partition("/")
    return [fee_in_quote(fill, base=base, quote=quote, fee_price=fee_prices.get(fill.trade_id)) for fill in fills]
