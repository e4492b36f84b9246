"""What decisions mean for a bot that holds something, where a rule keeps it from what the strategy wants."""

from dataclasses import fields, replace
from decimal import Decimal
from typing import Any

import pytest

from app.bots.meaning import meaning_of
from app.bots.models import BotMode, BotState
from app.bots.roster import LiveBot, Market
from app.bots.standing import Standing
from app.core.ids import new_id
from app.domain.candles import Timeframe
from app.domain.enums import OrderState, OrderType, Role, Side
from app.domain.fees import FeeRates
from app.domain.instruments import Instrument
from app.sandbox.messages import Decision
from app.trading.bot_ledger import BotLedger, OpenOrder

PRICE = Decimal(60000)
BTC = Instrument(
    symbol="BTC/USDT", base="BTC", quote="USDT", tick_size=Decimal("0.01"), step_size=Decimal("0.00001"), min_notional=Decimal(5)
)


def standing(quantity: str, *orders: OpenOrder) -> Standing:
    """A bot of 1,000 USDT that holds so much, bought at the price of now."""
    known: dict[str, Any] = dict.fromkeys(field.name for field in fields(LiveBot))
    known |= {"id": new_id(), "market": Market(symbol="BTC/USDT", timeframe=Timeframe("1m")), "capital": Decimal(1000)}
    known |= {"mode": BotMode.PAPER, "state": BotState.RUNNING}
    nothing: dict[str, Any] = dict.fromkeys(field.name for field in fields(BotLedger))
    nothing |= {"targets": (), "realized_pnl": Decimal(0), "fees": Decimal(0), "entered": Decimal(quantity)}
    nothing |= {"quantity": Decimal(quantity), "average_price": PRICE, "position_id": new_id(), "open_orders": orders}
    rates = FeeRates(maker=Decimal(0), taker=Decimal(0))
    return Standing(
        bot=LiveBot(**known), ledger=BotLedger(**nothing), instrument=BTC, fees=rates, price=PRICE, trailing=None, closed_because=None
    )


def on_its_way(side: Side = Side.BUY) -> OpenOrder:
    return OpenOrder(
        id=new_id(),
        key="bot:it:1:0",
        side=side,
        type=OrderType.LIMIT,
        role=Role.ENTRY,
        state=OrderState.PARTIAL,
        quantity=Decimal("0.016"),
        filled=Decimal("0.004"),
        price=PRICE,
    )


def meant(decision: Decision, how: Standing) -> Any:
    return meaning_of(decision, how, open_ms=0, close=PRICE, best=None)


def test_nothing_is_added_while_an_order_may_still_buy() -> None:
    """It would be sized as though that order bought nothing: the bot would spend more than it has."""
    added = Decision(action="none", adjust=1.0, stop=59000.0)
    assert meant(added, standing("0.004")).intent.quantity == Decimal("0.004")
    waits = meant(added, standing("0.004", on_its_way()))
    assert (waits.intent, waits.code, waits.levels.stop) == (None, "ORDER_UNSETTLED", Decimal(59000))
    assert meant(Decision(action="exit"), standing("0.004", on_its_way())).intent.close_position, "leaving does not wait"


@pytest.mark.parametrize(("fraction", "sold"), [(-0.5, Decimal("0.002")), (-0.98, None), (-0.979, Decimal("0.00391"))])
def test_what_would_stay_behind_and_could_not_be_sold_is_sold_with_the_rest(fraction: float, sold: Decimal | None) -> None:
    """Of 0.004 BTC 2 % are worth 4.80 USDT, and nothing below 5 USDT can be sold alone; None is all of it."""
    taken = meant(Decision(action="none", adjust=fraction), standing("0.004"))
    assert (taken.intent.close_position, taken.intent.quantity) == (True, sold)


def test_money_is_spent_once() -> None:
    flat = replace(
        standing("0"), ledger=replace(standing("0").ledger, quantity=Decimal(0), average_price=None, open_orders=(on_its_way(),))
    )
    assert meant(Decision(action="long"), flat).code == "ORDER_UNSETTLED"


def test_a_distance_that_moves_no_stop_yet_is_remembered() -> None:
    """The signal that says it is an action: what is asked about later are actions alone."""
    holds = replace(standing("0.004"), ledger=replace(standing("0.004").ledger, stop_price=Decimal(59990)))
    follows = Decision(action="none", trailing=0.0025)
    said = meaning_of(follows, holds, open_ms=0, close=PRICE, best=PRICE)
    assert (said.action, said.levels.stop) == ("levels", None)
    again = meaning_of(follows, replace(holds, trailing=Decimal("0.0025")), open_ms=0, close=PRICE, best=PRICE)
    assert again.action == "none", "the same each minute is no news"
    later = meaning_of(Decision(action="none"), replace(holds, trailing=Decimal("0.0025")), open_ms=0, close=PRICE, best=Decimal(61000))
    assert later.levels.stop == Decimal("60847.5")


def test_what_nobody_takes_is_a_crumb_unless_more_of_it_is_being_bought() -> None:
    assert (standing("0.00008").is_crumb, standing("0.00008").is_flat) == (True, True), "4.80 USDT, where 5 can be sold"
    assert (standing("0.00008", on_its_way()).is_crumb, standing("0.00008", on_its_way()).is_flat) == (False, False)
    assert (standing("0.00009").is_crumb, standing("0").is_crumb, standing("0").is_flat) == (False, False, True)
