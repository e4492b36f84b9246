"""Whatever an alert and its webhook say, no plan spends or sells more than it may."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.domain.enums import OrderType, Role, Side
from app.domain.instruments import Instrument
from app.domain.intents import OrderIntent
from app.domain.sizing import size as sized
from app.errors import OrderDenied
from app.trading.symbol_state import SymbolState
from app.webhooks.alert import Action, Alert, SizeKind
from app.webhooks.facts import FLAT, Facts
from app.webhooks.meaning import completed, plan
from app.webhooks.rules import DefaultSize, HookRules
from tests.app.alert_post import alert, at_price, off_entry, size

NOW = datetime(2026, 11, 26, 6, 30, tzinfo=UTC)
BTC = Instrument(
    symbol="BTC/USDT", base="BTC", quote="USDT", tick_size=Decimal("0.01"), step_size=Decimal("0.00001"), min_notional=Decimal(5)
)
NOTHING = HookRules()
money = st.decimals("0.00000001", "1000000", places=8) | st.decimals("1", "500", places=2)
fractions = st.decimals("0.0001", "1", places=4)
prices = st.decimals("0.01", "200000", places=2)
sizes = st.one_of(
    st.builds(lambda kind, value: size(kind, str(value)), st.just(SizeKind.QUOTE), money),
    st.builds(lambda value: size(SizeKind.BASE, str(value)), st.decimals("0.00000001", "2", places=8)),
    st.builds(
        lambda kind, value: size(kind, str(value)),
        st.sampled_from([SizeKind.FREE, SizeKind.EQUITY, SizeKind.RISK, SizeKind.POSITION]),
        fractions,
    ),
)
levels = (
    st.none()
    | st.builds(lambda price: at_price(str(price)), prices)
    | st.builds(lambda offset: off_entry(str(-offset)), st.decimals("0.0001", "0.5", places=4))
)
wishes = st.builds(
    lambda action, amount, stop, trail, limit, position, moves_from: alert(
        action,
        amount,
        stop=stop,
        trailing_delta=trail,
        type=OrderType.MARKET if limit is None else OrderType.LIMIT,
        price=limit,
        position=position,
        moves_from=moves_from,
    ),
    st.sampled_from([*[Action.BUY] * 6, *[Action.TARGET] * 3, Action.REVERSE, Action.SELL, Action.CLOSE]),
    st.none() | sizes,
    levels,
    st.none() | fractions,
    levels,
    st.none() | st.decimals("-10", "10", places=5),
    st.none() | st.decimals("-10", "10", places=5),
)
rule_sets = st.builds(
    lambda most, default, is_always, stop, target, trail: HookRules(
        max_notional=most,
        size=None if default is None else DefaultSize(kind=default.kind, value=default.value),
        always_default_size=is_always,
        stop_percent=stop,
        target_percent=target,
        trailing_percent=trail,
    ),
    st.none() | money,
    st.none() | sizes,
    st.booleans(),
    st.none() | fractions,
    st.none() | fractions,
    st.none() | fractions,
)


@settings(max_examples=600)
@given(wishes, rule_sets, prices, st.just(Decimal(10000)) | money, money, st.decimals("-10", "10", places=5))
@example(alert(Action.BUY, size(SizeKind.FREE, "1")), NOTHING, Decimal(60000), Decimal("999.99999999"), Decimal(5000), Decimal(0))
@example(
    alert(Action.BUY, size(SizeKind.RISK, "1"), stop=off_entry("-0.0001")), NOTHING, Decimal("0.03"), Decimal(7), Decimal(5000), Decimal(0)
)
def test_no_plan_spends_more_than_the_webhooks_limit_or_what_is_free_or_sells_more_than_is_held(
    wish: Alert, rules: HookRules, price: Decimal, free: Decimal, equity: Decimal, held: Decimal
) -> None:
    state = SymbolState(position_id=UUID(int=1), quantity=held, average_price=price, plan=None, buying=Decimal(0), selling=Decimal(0))
    known = Facts(instrument=BTC, now=NOW, state=state, buy_price=price, sell_price=price, free=free, equity=equity, usdt=Decimal(1))
    try:
        found = plan(completed(wish, rules), rules, known, key="k")
        if found.then is not None:
            found = plan(found.then, rules, replace(known, state=FLAT), key="k")
    except OrderDenied:
        return
    step = found.step
    if step is None:
        return  # there is nothing to do, and the plan says so
    assert isinstance(step, OrderIntent)
    if step.purpose is Role.EXIT:
        assert step.close_position or (step.quantity is not None and step.quantity <= abs(held))
        assert step.side is (Side.SELL if held > 0 else Side.BUY)
        assert step.side is Side.SELL or wish.action is Action.REVERSE
        return
    assert step.side is Side.BUY
    if step.quantity is None and step.notional is None:
        return  # it names no size, and is denied when it is sized
    cost = step.notional if step.notional is not None else (step.quantity or Decimal(0)) * (step.price or price)
    try:
        sent = sized(step, BTC, reference_price=price)
    except OrderDenied:
        pass
    else:
        cost = max(cost, sent.notional or Decimal(0), sent.quantity * (sent.price or price))
    assert cost <= free
    assert rules.max_notional is None or cost <= rules.max_notional
