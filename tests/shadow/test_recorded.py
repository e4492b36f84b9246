"""What a bot did is counted whole, whatever is missing of the candles that it is laid beside."""

from decimal import Decimal

import numpy as np

from app.shadow.compare import compare
from app.shadow.lives import Market, ShadowLife, Signal
from app.shadow.recorded import Recorded, RecordedFill, live_life

MINUTE = 60_000
START = 1_700_000_040_000


def fill(order: str, key: str, role: str, *, price: str, at: int) -> RecordedFill:
    return RecordedFill(
        position="one", order=order, key=key, role=role, is_buy=role == "entry", quantity=Decimal(2), price=Decimal(price),
        fee=Decimal("0.1"), coins=Decimal(0), level=None, at=at, is_closed=True,
    )  # fmt: skip


def test_a_trade_whose_stop_was_reached_while_candles_were_missing_is_counted() -> None:
    fills = (
        fill("in", f"bot:x:{START}:0", "entry", price="100", at=START + MINUTE + 200),
        fill("out", "stop", "stop", price="90", at=START + 2 * MINUTE + 200),
    )
    # The minutes in which both were filled are those that nobody has a candle of.
    time = START + MINUTE * np.array([0, 3, 4, 5], dtype=np.int64)
    prices = np.array([100.0, 95.0, 95.0, 95.0])
    market = Market(time=time, opens=prices, closes=prices, timeframe=MINUTE, fee=Decimal("0.001"), maker_fee=Decimal("0.001"))
    recorded = Recorded(
        capital=Decimal(1000), fills=fills, signals={START: Signal(id="s", action="long", state="done")}, spans=(), trips=(), revised={},
        changed_at=None, first=START, end=START + 6 * MINUTE,
    )  # fmt: skip
    life = live_life(recorded, market)
    found = compare(life, ShadowLife(trades=()), market)
    assert [[act.order_ids for act in trade.acts] for trade in life.trades] == [[("in",), ("out",)]]
    assert found.live == Decimal("-20.2")
    assert found.live == sum((one.money for one in found.differences), Decimal(0)) + found.rest
