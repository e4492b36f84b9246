"""What a bot came to beside its shadow is taken apart completely, whatever happened to it."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.shadow.causes import Cause
from app.shadow.compare import compare
from app.shadow.lives import Trade
from tests.shadow.lives_at_random import Happening, lived

RATES = st.sampled_from([0.0, 0.0, 0.02, 0.1])
#: What may follow of anything: other money afterwards, a stop that lies elsewhere.
FOLLOWS = {Cause.CAPITAL, Cause.FILL_PRICE, Cause.FEE}
HAPPENINGS = st.builds(
    Happening,
    price=st.sampled_from([0.0, 0.0, 0.0005, 0.003]),
    fee=st.sampled_from([0.001, 0.001, 0.0007, 0.002]),
    missed=RATES, denied=RATES, rejected=RATES, suspended=st.sampled_from([0.0, 0.01]), sold=st.sampled_from([0.0, 0.02]),
)  # fmt: skip


@settings(deadline=None)
@given(seed=st.integers(0, 100_000), happening=HAPPENINGS)
def test_a_life_at_random_is_explained_completely(seed: int, happening: Happening) -> None:
    life = lived(seed, 150, happening)
    found = compare(life.live, life.shadow, life.market)
    assert found.live - found.shadow == sum((one.money for one in found.differences), Decimal(0)) + found.rest
    assert abs(found.rest) < Decimal("1e-6"), (found.rest, found.by_cause)
    assert set(found.by_cause) - FOLLOWS <= life.happened | {Cause.WITHIN_CANDLE}, found.by_cause
    assert Cause.DECISION not in found.by_cause


@pytest.mark.parametrize("seed", range(20))
def test_a_bot_to_which_nothing_happens_is_its_shadow(seed: int) -> None:
    life = lived(seed, 400, Happening())
    found = compare(life.live, life.shadow, life.market)
    assert (found.differences, found.rest, found.live) == ((), Decimal(0), found.shadow)
    assert found.shadow_trades > 3


@pytest.mark.parametrize("seed", range(8))
def test_fees_taken_in_coins_are_told_as_fees(seed: int) -> None:
    life = lived(seed, 200, Happening())
    coins = tuple(with_fee_in_coins(trade, life.market.fee) for trade in life.live.trades)
    found = compare(replace(life.live, trades=coins), life.shadow, life.market)
    assert found.live != found.shadow
    assert set(found.by_cause) <= {Cause.FEE, Cause.CAPITAL}, found.by_cause
    assert abs(found.rest) < Decimal("1e-6")


def with_fee_in_coins(trade: Trade, rate: Decimal) -> Trade:
    """The same trade at an exchange that takes the fee of what was bought out of it, so that less is left to sell."""
    bought, acts = Decimal(0), []
    for act in trade.acts:
        if act.kind.is_buy:
            coins = act.quantity * rate
            bought += coins
            acts.append(replace(act, parts=((act.quantity - coins, act.price),), coins=coins, fee=coins * act.price))
        else:
            acts.append(act)
    last = acts[-1]
    if last.kind.is_buy or bought >= last.quantity:
        return replace(trade, acts=tuple(acts))
    left = last.quantity - bought
    acts[-1] = replace(last, parts=((left, last.price),), fee=last.fee * left / last.quantity)
    return replace(trade, acts=tuple(acts))
