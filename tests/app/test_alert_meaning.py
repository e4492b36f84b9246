"""What alerts mean, without any exchange: sizes, bounds and plans."""

from dataclasses import replace
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from app.domain.enums import OrderType, Role, Side
from app.domain.instruments import Instrument
from app.domain.intents import OrderIntent
from app.domain.protection import ProtectionPlan, Target
from app.errors import AppError
from app.webhooks.alert import Action, Alert, SizeKind, TargetLevel
from app.webhooks.facts import FLAT, Facts
from app.webhooks.guards import Protect
from app.webhooks.meaning import Plan, completed, notes_of, opening, plan
from app.webhooks.rules import DefaultSize, HookRules, Hours
from tests.app.alert_post import alert, at_price, base, buy, off_entry, size

NOW = datetime(2026, 11, 26, 6, 30, tzinfo=UTC)  # a Thursday
BTC = Instrument(
    symbol="BTC/USDT", base="BTC", quote="USDT", tick_size=Decimal("0.01"), step_size=Decimal("0.00001"), min_notional=Decimal(5)
)
NOTHING = HookRules()


def facts(held: str = "0", **fields: Any) -> Facts:
    state = replace(FLAT, quantity=Decimal(held), position_id=UUID(int=1), average_price=Decimal(60000), **fields.pop("state", {}))
    known = {"buy_price": Decimal(60000), "sell_price": Decimal(59990), "free": Decimal(1000), "equity": Decimal(5000), "usdt": Decimal(1)}
    numbers = {name: None if value is None else Decimal(value) for name, value in (known | fields).items()}
    return Facts(instrument=BTC, now=NOW, state=state if Decimal(held) else FLAT, **numbers)


def planned(wish: Alert, rules: HookRules = NOTHING, known: Facts | None = None) -> Plan:
    return plan(completed(wish, rules), rules, known or facts(), key="k")


def order(wish: Alert, rules: HookRules = NOTHING, known: Facts | None = None) -> OrderIntent:
    step = planned(wish, rules, known).step
    assert isinstance(step, OrderIntent)
    return step


def refusal(wish: Alert, rules: HookRules = NOTHING, known: Facts | None = None) -> str:
    with pytest.raises(AppError) as caught:
        planned(wish, rules, known)
    assert caught.value.message
    return caught.value.code


def bought(kind: SizeKind, value: str, **fields: Any) -> OrderIntent:
    return order(alert(Action.BUY, size(kind, value), **fields))


def test_sizes_of_a_buy_are_base_quote_and_shares_of_what_is_free_and_of_the_equity() -> None:
    assert bought(SizeKind.BASE, "0.01").quantity == Decimal("0.01")
    assert bought(SizeKind.QUOTE, "250").notional == 250
    assert bought(SizeKind.FREE, "0.25").notional == 250
    assert bought(SizeKind.EQUITY, "0.1").notional == 500


def test_share_of_the_equity_buys_no_more_than_is_free_and_says_so() -> None:
    found = planned(alert(Action.BUY, size(SizeKind.EQUITY, "0.5")))
    assert isinstance(found.step, OrderIntent)
    assert found.step.notional == 1000
    assert found.notes == ("only 1000 USDT are free, the size asked for 2500 USDT",)


def test_share_of_the_position_enlarges_it() -> None:
    wish = alert(Action.BUY, size(SizeKind.POSITION, "0.5"))
    assert order(wish, known=facts("0.02")).quantity == Decimal("0.01")
    assert refusal(wish) == "NO_POSITION"


def test_risk_buys_what_loses_the_share_of_the_equity_at_the_stop() -> None:
    found = bought(SizeKind.RISK, "0.001", stop=at_price("59000"))
    assert found.quantity == Decimal("0.005")  # 5000 × 0.1 % over 1000 of distance
    assert found.protection == ProtectionPlan(stop_price=Decimal(59000))
    assert bought(SizeKind.RISK, "0.001", trailing_delta=Decimal("0.01")).quantity == Decimal("0.008333333333333333")
    limit = bought(SizeKind.RISK, "0.001", stop=at_price("59500"), stop_limit=at_price("59000"))
    assert limit.quantity == Decimal("0.005")


def test_risk_is_capped_by_what_is_free_and_needs_a_stop_below_the_entry_and_a_known_equity() -> None:
    found = planned(alert(Action.BUY, size(SizeKind.RISK, "0.02"), stop=at_price("59900")))
    assert isinstance(found.step, OrderIntent)
    assert found.step.quantity is not None
    assert found.step.quantity * 60000 * Decimal("1.001") <= 1000
    assert "only 1000 USDT are free" in found.notes[0]
    wish = alert(Action.BUY, size(SizeKind.RISK, "0.01"))
    assert refusal(wish) == "STOP_MISSING"
    assert refusal(replace(wish, stop=at_price("60000"))) == "PLAN_INVALID"
    assert refusal(replace(wish, stop=at_price("59000")), known=facts(equity=None)) == "EQUITY_UNKNOWN"
    assert refusal(alert(Action.BUY, size(SizeKind.EQUITY, "0.1")), known=facts(equity=None)) == "EQUITY_UNKNOWN"


def test_levels_are_prices_or_distances_from_the_entry() -> None:
    wish = buy(
        stop=off_entry("-0.02"),
        targets=(
            TargetLevel(level=off_entry("0.05"), fraction=Decimal("0.5")),
            TargetLevel(level=at_price("70000"), fraction=Decimal("0.5")),
        ),
        break_even_after=1,
    )
    assert order(wish).protection == ProtectionPlan(
        stop_price=Decimal(58800),
        targets=(Target(price=Decimal(63000), fraction=Decimal("0.5")), Target(price=Decimal(70000), fraction=Decimal("0.5"))),
        break_even_after=1,
    )
    limited = order(replace(wish, type=OrderType.LIMIT, price=off_entry("-0.03"), targets=(), break_even_after=None))
    assert (limited.price, limited.protection) == (Decimal(58200), ProtectionPlan(stop_price=Decimal(57036)))
    assert refusal(wish, known=facts(buy_price=None)) == "PRICE_UNKNOWN"


def test_defaults_of_the_webhook_stand_in_for_what_an_alert_does_not_say() -> None:
    rules = HookRules(
        symbol="BTCUSDT",
        size=DefaultSize(kind=SizeKind.QUOTE, value=Decimal(100)),
        stop_percent=Decimal("0.02"),
        target_percent=Decimal("0.04"),
    )
    bare = completed(alert(Action.BUY, symbol=None), rules)
    found = order(bare, rules)
    assert (bare.symbol, found.notional) == ("BTCUSDT", Decimal(100))
    assert found.protection == ProtectionPlan(stop_price=Decimal(58800), targets=(Target(price=Decimal(62400), fraction=Decimal(1)),))
    own = order(buy(stop=at_price("50000")), rules)
    assert (own.quantity, own.protection and own.protection.stop_price) == (Decimal("0.01"), Decimal(50000))
    always = rules.model_copy(update={"always_default_size": True, "trailing_percent": Decimal("0.01")})
    found = order(buy(), always)
    assert (found.quantity, found.notional) == (None, Decimal(100))
    assert found.protection is not None
    assert (found.protection.trailing_delta, found.protection.stop_price) == (Decimal("0.01"), None)


def test_sell_sells_of_the_position_and_never_more() -> None:
    part = order(alert(Action.SELL, base("0.01")), known=facts("0.05"))
    assert (part.side, part.quantity, part.close_position, part.purpose) == (Side.SELL, Decimal("0.01"), False, Role.EXIT)
    found = planned(alert(Action.SELL, base("1")), known=facts("0.05"))
    assert isinstance(found.step, OrderIntent)
    assert (found.step.quantity, found.step.close_position) == (None, True)
    assert found.notes == ("all that was held was sold: 0.05 BTC",)
    assert order(alert(Action.SELL), known=facts("0.05")).close_position
    assert order(alert(Action.SELL, size(SizeKind.QUOTE, "599.9")), known=facts("0.05")).quantity == Decimal("0.01")
    assert order(alert(Action.SELL, size(SizeKind.FREE, "0.5")), known=facts("0.05")).quantity == Decimal("0.025")
    assert refusal(alert(Action.SELL, base("0.01"))) == "NO_POSITION"
    assert refusal(alert(Action.SELL, base("0.01")), known=facts("-0.05")) == "NO_POSITION"
    assert refusal(alert(Action.SELL, size(SizeKind.RISK, "0.5")), known=facts("0.05")) == "QUANTITY_INVALID"
    sold_already = facts("0.05", state={"selling": Decimal("0.05")})
    assert refusal(alert(Action.SELL, base("0.01")), known=sold_already) == "NO_POSITION"


def test_size_of_the_webhook_is_not_what_an_exit_sells() -> None:
    rules = HookRules(size=DefaultSize(kind=SizeKind.QUOTE, value=Decimal(100)), always_default_size=True)
    assert order(alert(Action.SELL, base("0.01")), rules, facts("0.05")).close_position
    assert order(alert(Action.SELL, size(SizeKind.POSITION, "0.5")), rules, facts("0.05")).quantity == Decimal("0.025")
    assert order(alert(Action.SELL), HookRules(size=rules.size), facts("0.05")).close_position


def test_close_closes_all_a_share_or_an_amount() -> None:
    assert order(alert(Action.CLOSE), known=facts("0.05")).close_position
    assert order(alert(Action.CLOSE, size(SizeKind.POSITION, "1")), known=facts("0.05")).close_position
    assert order(alert(Action.CLOSE, size(SizeKind.POSITION, "0.4")), known=facts("0.05")).quantity == Decimal("0.02")
    assert order(alert(Action.CLOSE, base("0.01")), known=facts("0.05")).quantity == Decimal("0.01")
    assert refusal(alert(Action.CLOSE)) == "NO_POSITION"


def test_what_the_owner_sold_of_coins_from_elsewhere_is_bought_back_by_no_exit() -> None:
    short = facts("-0.05")
    assert refusal(alert(Action.CLOSE), known=short) == "NO_POSITION"
    assert refusal(alert(Action.REVERSE, base("0.02")), known=short) == "NO_POSITION"
    assert planned(alert(Action.TARGET, position=Decimal(0)), known=short).step is None
    assert order(alert(Action.TARGET, position=Decimal("0.02")), known=facts("-0.05", free="10000")).quantity == Decimal("0.02")


@pytest.mark.parametrize(
    ("target", "held", "side", "quantity"),
    [
        ("0.05", "0", Side.BUY, "0.05"),
        ("0.05", "0.02", Side.BUY, "0.03"),
        ("0.02", "0.05", Side.SELL, "0.03"),
        ("0", "0.05", Side.SELL, None),
        ("-0.05", "0.05", Side.SELL, None),
    ],
)
def test_target_trades_the_difference(target: str, held: str, side: Side, quantity: str | None) -> None:
    found = planned(alert(Action.TARGET, position=Decimal(target)), known=facts(held, free="10000"))
    assert isinstance(found.step, OrderIntent)
    assert (found.step.side, found.step.close_position) == (side, quantity is None)
    assert found.step.quantity == (None if quantity is None else Decimal(quantity))
    assert [*found.notes] == (["a spot account cannot go short: the position was closed, not turned"] if target[0] == "-" else [])


@pytest.mark.parametrize(("target", "held"), [("0", "0"), ("-0.05", "0"), ("0.05", "0.04995"), ("0", "-0.01")])
def test_target_that_is_reached_trades_nothing_and_says_why(target: str, held: str) -> None:
    found = planned(alert(Action.TARGET, position=Decimal(target)), known=facts(held))
    assert found.step is None
    assert found.notes


def test_target_counts_what_is_on_its_way() -> None:
    known = facts("0.01", state={"buying": Decimal("0.04")})
    assert planned(alert(Action.TARGET, position=Decimal("0.05")), known=known).step is None


def test_target_of_a_webhook_with_a_size_of_its_own_only_heeds_the_direction() -> None:
    rules = HookRules(size=DefaultSize(kind=SizeKind.QUOTE, value=Decimal(100)), always_default_size=True)

    def step(position: str, moves_from: str | None, held: str) -> Any:
        wish = alert(Action.TARGET, position=Decimal(position), moves_from=None if moves_from is None else Decimal(moves_from))
        return planned(wish, rules, facts(held)).step

    assert step("10", "0", "0").notional == 100
    assert step("20", "10", "0.002").notional == 100
    assert step("5", "20", "0.004").quantity == Decimal("0.003")
    assert step("5", None, "0.004") is None
    assert step("0", "20", "0.004").close_position


def test_reversal_of_a_long_only_closes_and_that_of_a_short_closes_then_opens() -> None:
    long = planned(alert(Action.REVERSE, base("0.02")), known=facts("0.05"))
    assert isinstance(long.step, OrderIntent)
    assert (long.step.close_position, long.then) == (True, None)
    assert "cannot go short" in long.notes[0]
    short = planned(alert(Action.REVERSE, base("0.02"), moves_from=Decimal("-0.05")), known=facts("-0.05"))
    assert isinstance(short.step, OrderIntent)
    assert (short.step.side, short.step.close_position) == (Side.BUY, True)
    assert short.then is not None
    assert (short.then.action, short.then.size) == (Action.BUY, base("0.02"))
    part = planned(alert(Action.REVERSE, moves_from=Decimal("-0.03")), known=facts("-0.05"))
    assert isinstance(part.step, OrderIntent)
    assert part.then is not None
    assert (part.step.quantity, part.then.size) == (Decimal("0.03"), base("0.03"))
    assert opening(alert(Action.REVERSE), NOTHING, closed=Decimal("0.05")).size == base("0.05")
    assert planned(alert(Action.REVERSE, base("0.02"), moves_from=Decimal(-1))).then is not None
    assert refusal(alert(Action.REVERSE, base("0.02"))) == "NO_POSITION"


def test_protect_changes_what_is_said_and_leaves_the_rest() -> None:
    now = ProtectionPlan(stop_price=Decimal(59000), targets=(Target(price=Decimal(65000), fraction=Decimal(1)),))
    known = facts("0.05", state={"plan": now})
    found = planned(alert(Action.PROTECT, stop=at_price("59500")), known=known).step
    assert found == Protect(plan=replace(now, stop_price=Decimal(59500)), is_stop_only=True)
    targets = (TargetLevel(level=off_entry("0.1"), fraction=Decimal(1)),)
    found = planned(alert(Action.PROTECT, targets=targets), known=known).step
    assert found == Protect(plan=replace(now, targets=(Target(price=Decimal(66000), fraction=Decimal(1)),)), is_stop_only=False)
    same = planned(alert(Action.PROTECT, stop=at_price("59000")), known=known)
    assert (same.step, len(same.notes)) == (None, 1)
    found = planned(alert(Action.PROTECT, stop=at_price("59500")), known=facts("0.05")).step
    assert found == Protect(plan=ProtectionPlan(stop_price=Decimal(59500)), is_stop_only=False)
    assert refusal(alert(Action.PROTECT, stop=at_price("59500"))) == "NO_POSITION"
    assert refusal(alert(Action.PROTECT), known=known) == "PLAN_INVALID"


def test_bounds_hold_for_entries_and_sides_and_symbols_for_all() -> None:
    assert refusal(buy(), HookRules(symbols=("ETHUSDT",))) == "HOOK_SYMBOL"
    assert refusal(alert(Action.CLOSE), HookRules(symbols=("ETHUSDT",)), facts("0.05")) == "HOOK_SYMBOL"
    assert order(buy(), HookRules(symbols=("ETHUSDT", "binance:btc-usdt")))
    assert refusal(buy(), HookRules(sides=("sell",))) == "HOOK_SIDE"
    assert refusal(alert(Action.CLOSE), HookRules(sides=("buy",)), facts("0.05")) == "HOOK_SIDE"
    assert refusal(buy(), HookRules(max_notional=Decimal(600))) == "HOOK_NOTIONAL"
    assert order(buy(), HookRules(max_notional=Decimal(601)))
    assert refusal(buy(), HookRules(max_notional=Decimal(601)), facts(buy_price=None)) == "VALUE_UNKNOWN"
    assert order(alert(Action.CLOSE), HookRules(max_notional=Decimal(1)), facts("0.05"))
    limit = buy(type=OrderType.LIMIT, price=at_price("59000"))
    assert order(limit, HookRules(max_notional=Decimal(590)))


@pytest.mark.parametrize(
    ("days", "start", "end", "at", "is_open"),
    [
        ((3,), time(6), time(7), NOW, True),
        ((4,), time(6), time(7), NOW, False),
        ((3,), time(7), time(8), NOW, False),
        ((3,), time(6, 30), time(6, 30), NOW, True),
        ((2,), time(22), time(7), NOW, True),
        ((2,), time(22), time(6), NOW, False),
        ((3,), time(22), time(6), NOW.replace(hour=23), True),
    ],
)
def test_hours_are_those_of_the_day_they_begin_on(days: tuple[int, ...], start: time, end: time, at: datetime, is_open: bool) -> None:  # noqa: FBT001
    rules = HookRules(hours=Hours(days=days, start=start, end=end))
    known = replace(facts(), now=at)
    if is_open:
        assert order(buy(), rules, known)
    else:
        assert refusal(buy(), rules, known) == "HOOK_HOURS"
    assert order(alert(Action.CLOSE), rules, replace(facts("0.05"), now=at))


def test_hours_of_another_zone_are_refused_when_they_are_set() -> None:
    with pytest.raises(ValueError, match="without a zone"):
        Hours(days=(1,), start=time(6, tzinfo=UTC), end=time(7))


def test_what_has_no_bearing_is_noted() -> None:
    assert notes_of(buy(ignored=("leverage",), exchange="COINBASE"), "binance") == (
        "members of the message without bearing here: leverage",
        "the chart is one of COINBASE, the order went to binance",
    )
    assert notes_of(buy(exchange="BINANCE"), "binance") == notes_of(buy(exchange="BINANCE"), "paper") == ()
