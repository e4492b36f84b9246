"""Safeguards of live bots: they trip at their numbers, once, what is to be done written in the same moment, and count anew when armed."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from app.bots.safeguard_state import bots_standing
from app.bots.safeguard_watch import SafeguardWatch
from app.bots.safeguards import LetIn, Look, check, look
from app.core.ids import new_id
from app.trading.desk import Desk
from tests.app.botting import URL, act, bot, paper_account, valid_strategy, wish
from tests.app.library import refusal, somebody
from tests.app.whole_site import Person, Site

pytestmark = pytest.mark.asyncio(loop_scope="module")

SYMBOL = "BTC/USDT"
NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


def at(price: float | None) -> Callable[[str, str], Decimal | None]:
    return lambda _exchange, _symbol: None if price is None else Decimal(str(price))


@dataclass
class Trader:
    """A person with running bots whose trades the test makes up."""

    site: Site
    person: Person
    strategy_id: str
    broker_id: str

    @property
    def desk(self) -> Desk:
        desk: Desk = self.site.app.state.desk
        return desk

    @property
    def user_id(self) -> UUID:
        return UUID(self.person.ids["user_id"])

    async def running(self, safeguards: dict[str, Any], **given: Any) -> UUID:
        made = await bot(self.person, self.strategy_id, self.broker_id, safeguards=safeguards, **given)
        assert (await act(self.person, made["id"], "start"))["state"] == "running"
        return UUID(made["id"])

    async def rows(self, sql: str, *values: object) -> list[Any]:
        async with self.site.app.state.platform_database.connection() as connection:
            return list(await connection.fetch(sql, *values))

    async def holds(self, bot_id: UUID, quantity: str, price: str) -> None:
        await self.rows(
            """INSERT INTO positions (id, user_id, broker_id, bot_id, symbol, base, quote, quantity, average_price, side, source, status,
                                      opened_at, updated_at)
               VALUES ($1, $2, $3, $4, $5, 'BTC', 'USDT', $6, $7, 'long', 'bot', 'open', now(), now())""",
            new_id(), self.user_id, UUID(self.broker_id), bot_id, SYMBOL, Decimal(quantity), Decimal(price),
        )  # fmt: skip

    async def closed(self, bot_id: UUID, profit: str, when: datetime, role: str = "exit") -> None:
        await self.rows(
            """INSERT INTO positions (id, user_id, broker_id, bot_id, symbol, base, quote, quantity, realized_pnl, side, source, status,
                                      opened_at, updated_at, closed_at, exit_role)
               VALUES ($1, $2, $3, $4, $5, 'BTC', 'USDT', 0, $6, 'long', 'bot', 'closed', $7, $7, $7, $8)""",
            new_id(), self.user_id, UUID(self.broker_id), bot_id, SYMBOL, Decimal(profit), when, role,
        )  # fmt: skip

    async def point(self, bot_id: UUID, when: datetime, equity: str) -> None:
        await self.rows(
            """WITH point AS (INSERT INTO bot_equity (bot_id, at, user_id, equity, position_quantity, price) VALUES ($1, $2, $3, $4, 0, 1))
               UPDATE bots SET peak_equity = greatest(peak_equity, $4) WHERE id = $1""",
            bot_id, when, self.user_id, Decimal(equity),
        )  # fmt: skip

    async def look(self, *bots: UUID, price: float | None = None, now: datetime = NOON) -> dict[UUID, Look]:
        return await look(self.desk, dict.fromkeys(bots, self.user_id), now=now, price=at(price))

    async def state(self, bot_id: UUID) -> tuple[str, bool]:
        (row,) = await self.rows("SELECT state, sell_asked_at FROM bots WHERE id = $1", bot_id)
        return row["state"], row["sell_asked_at"] is not None

    async def trips(self) -> list[Any]:
        return await self.rows("SELECT * FROM bot_trips WHERE user_id = $1 ORDER BY at, rule", self.user_id)


async def trader(site: Site) -> Trader:
    person = await somebody(site)
    return Trader(site, person, await valid_strategy(site, person), await paper_account(person))


async def test_a_daily_loss_counts_what_is_not_realised_and_flattens_once(site: Site) -> None:
    ada = await trader(site)
    mine = await ada.running({"daily_loss": {"fraction": "0.05", "action": "flatten"}})
    await ada.point(mine, NOON.replace(hour=0), "1100")
    await ada.closed(mine, "80", NOON - timedelta(hours=2))
    await ada.holds(mine, "1", "100")
    # 1,000 of capital, 80 won, 30.01 lost so far: 1,049.99 is 50.01 below midnight.
    assert (await ada.look(mine, price=70.01))[mine].trips == ()
    assert await ada.state(mine) == ("running", False)
    found = await asyncio.gather(*(check(ada.desk, ada.user_id, mine, now=NOON, price=at(70)) for _ in range(3)))
    (trip,) = [one for trips in found for one in trips]
    assert (trip.rule, trip.action, trip.bot_id) == ("daily_loss", "flatten", mine)
    assert trip.reason.values == {"lost": "5", "limit": "5", "day": "2026-11-26", "equity": "1050.00", "base": "1100.00"}
    assert await ada.state(mine) == ("suspended", True)
    assert len(await ada.trips()) == 1
    kinds = [line["kind"] for line in (await ada.person.call("GET", f"{URL}/{mine}/events")).json()["items"]]
    assert kinds[:2] == ["sell_asked", "tripped"]
    assert refusal(await ada.person.call("POST", f"{URL}/{mine}/start")) == (409, "BOT_TRIPPED")


async def test_a_drawdown_that_was_armed_again_counts_from_the_equity_of_then(site: Site) -> None:
    ada = await trader(site)
    mine = await ada.running({"drawdown": {"fraction": "0.1"}})
    await ada.point(mine, NOON - timedelta(days=3), "2000")
    await ada.closed(mine, "800", NOON - timedelta(days=1))
    (trip,) = (await ada.look(mine))[mine].trips
    assert trip.reason.values == {"lost": "10", "limit": "10", "equity": "1800.00", "base": "2000.00"}
    assert await ada.state(mine) == ("suspended", False)
    assert (await ada.look(mine))[mine].trips == ()
    again = await ada.person.call("POST", f"{URL}/trips/{trip.id}/rearm")
    assert again.status_code == 200, again.text
    await act(ada.person, str(mine), "start")
    later = ada.desk.clock.now() + timedelta(hours=1)
    assert (await ada.look(mine, now=later))[mine].trips == ()
    await ada.closed(mine, "-179.99", later)
    assert (await ada.look(mine, now=later))[mine].trips == ()
    await ada.closed(mine, "-0.01", later)
    (second,) = (await ada.look(mine, now=later))[mine].trips
    assert (second.reason.values["base"], second.reason.values["equity"]) == ("1800.00", "1620.00")


async def test_stops_and_losses_are_counted_since_they_were_armed_again(site: Site) -> None:
    ada = await trader(site)
    mine = await ada.running({"stops": {"stops": 2, "window": {"candles": 10}}, "losses": {"trades": 3}})
    begun = ada.desk.clock.now().replace(second=0, microsecond=0) - timedelta(minutes=30)
    for minute, role in enumerate(("stop", "exit", "stop")):
        await ada.closed(mine, "-1", begun + timedelta(minutes=minute), role)
    trips = (await ada.look(mine))[mine].trips
    assert {(one.rule.value, one.reason.values["count"]) for one in trips} == {("stops", "2"), ("losses", "3")}
    for one in trips:
        assert (await ada.person.call("POST", f"{URL}/trips/{one.id}/rearm")).status_code == 200
    await act(ada.person, str(mine), "start")
    await ada.closed(mine, "-1", ada.desk.clock.now() + timedelta(minutes=1), "stop")
    assert (await ada.look(mine))[mine].trips == ()


async def test_a_cooldown_and_a_cut_are_about_one_entry_and_suspend_nothing(site: Site) -> None:
    ada = await trader(site)
    mine = await ada.running({"cooldown": {"span": {"candles": 3}}, "max_notional": {"most": "500"}})
    await ada.closed(mine, "5", NOON)
    waiting = (await ada.look(mine, now=NOON + timedelta(minutes=3)))[mine].refusal()
    assert waiting is not None
    assert waiting.values == {"closed": "2026-11-26 12:00 UTC", "until": "2026-11-26 12:04 UTC"}
    seen = (await ada.look(mine, now=NOON + timedelta(minutes=4)))[mine]
    assert seen.refusal() is None
    quantity, why = seen.cut(Decimal(9), Decimal(100))
    assert quantity == 5
    assert why is not None
    assert seen.cut(Decimal(2), Decimal(100)) == (Decimal(2), None)
    assert await ada.state(mine) == ("running", False)


async def test_bots_that_enter_at_the_same_close_count_each_other(site: Site) -> None:
    ada = await trader(site)
    rules = {"max_positions": {"most": 2}}
    bots = [await ada.running(rules) for _ in range(4)]
    await ada.holds(bots[0], "1", "100")
    looks = await ada.look(*bots[1:])
    assert [looks[one].refusal() is None for one in bots[1:]] == [True, False, False]


async def test_a_price_that_nobody_knows_trips_nothing(site: Site) -> None:
    ada = await trader(site)
    mine = await ada.running({"drawdown": {"fraction": "0.1", "action": "flatten"}})
    await ada.holds(mine, "5", "100")
    await ada.rows("UPDATE bots SET peak_equity = 1400 WHERE id = $1", mine)
    # At 180 it is worth 1,400; what it paid would be a drawdown of more than a quarter.
    assert (await ada.look(mine, price=None))[mine].trips == ()
    assert (await ada.look(mine, price=180))[mine].trips == ()
    assert [trip.rule for trip in (await ada.look(mine, price=150))[mine].trips] == ["drawdown"]


async def test_bots_whose_markets_close_together_and_are_heard_of_apart_count_each_other(site: Site) -> None:
    ada = await trader(site)
    rules = {"max_positions": {"most": 1}}
    one, other = await ada.running(rules), await ada.running(rules)
    let_in = LetIn()

    async def seen(bot_id: UUID, now: datetime = NOON) -> Look:
        return (await look(ada.desk, {bot_id: ada.user_id}, now=now, let_in=let_in))[bot_id]

    first, second = await seen(one), await seen(other)
    assert first.refusal() is None
    assert second.refusal() is not None, "the order of the first is not stored yet"
    assert (await seen(one)).refusal() is None, "nobody is in one's own way"
    assert (await seen(other, NOON + timedelta(minutes=1))).refusal() is None, "it came to nothing"


async def test_what_all_bots_lost_together_suspends_them_all(site: Site) -> None:
    ada = await trader(site)
    answer = await ada.person.call("PUT", f"{URL}/safeguards", json={"daily_loss": {"fraction": "0.1", "action": "flatten"}})
    assert answer.status_code == 200, answer.text
    first, second = await ada.running({}), await ada.running({}, capital="3000")
    await ada.holds(second, "4", "100")
    # Of 4,000 in all a tenth may go.
    await ada.closed(first, "-200", NOON)
    assert (await ada.look(first, price=50.01))[first].trips == ()
    (trip,) = (await ada.look(first, price=50))[first].trips
    assert (trip.bot_id, trip.rule) == (None, "daily_loss")
    assert (await ada.state(first), await ada.state(second)) == (("suspended", False), ("suspended", True))
    (stored,) = await ada.trips()
    assert stored["values"]["quote"] == "USDT"
    third = await bot(ada.person, ada.strategy_id, ada.broker_id)
    assert refusal(await ada.person.call("POST", f"{URL}/{third['id']}/start")) == (409, "BOT_TRIPPED")
    listed = (await ada.person.call("GET", f"{URL}/trips")).json()["items"]
    assert [(one["rule"], one["bot_id"], one["rearmed_at"]) for one in listed] == [("daily_loss", None, None)]
    assert "10% of the capital" in listed[0]["reason"]["text"]


async def test_a_drawdown_of_all_bots_counts_from_their_highest_profit(site: Site) -> None:
    ada = await trader(site)
    await ada.person.call("PUT", f"{URL}/safeguards", json={"drawdown": {"fraction": "0.2"}})
    mine = await ada.running({})
    await ada.closed(mine, "1000", NOON - timedelta(days=1))
    assert (await ada.look(mine))[mine].trips == ()
    await ada.closed(mine, "-400", NOON)
    (trip,) = (await ada.look(mine))[mine].trips
    assert trip.reason.values == {"lost": "20", "limit": "20", "equity": "1600.00", "base": "2000.00"}
    await ada.person.call("POST", f"{URL}/trips/{trip.id}/rearm")
    assert (await ada.look(mine))[mine].trips == ()


async def test_safeguards_of_all_bots_are_told_in_minutes(site: Site) -> None:
    ada = await somebody(site)
    assert (await ada.call("GET", f"{URL}/safeguards")).json() == {"safeguards": {}}
    for wrong in ({"cooldown": {"span": {"candles": 3}}}, {"losses": {"trades": 2, "rearm_after": 5}}, {"daily_loss": {"fraction": "2"}}):
        assert (await ada.call("PUT", f"{URL}/safeguards", json=wrong)).status_code == 422
    kept = {"cooldown": {"span": {"minutes": 30}}}
    assert (await ada.call("PUT", f"{URL}/safeguards", json=kept)).json() == {"safeguards": kept}
    assert (await ada.call("GET", f"{URL}/safeguards")).json() == {"safeguards": kept}


async def test_a_bot_is_not_made_with_safeguards_that_mean_nothing(site: Site) -> None:
    ada = await trader(site)
    given = wish(ada.strategy_id, ada.broker_id, safeguards={"drawdown": {"fraction": "0"}})
    assert (await ada.person.call("POST", URL, json=given)).status_code == 422


async def test_the_watch_trips_while_a_candle_is_open_and_finishes_what_was_left(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = await trader(site)
    mine = await ada.running({"drawdown": {"fraction": "0.1", "action": "flatten"}})
    price = {"now": Decimal(100)}
    monkeypatch.setattr(type(ada.desk.quotes), "last_price", lambda _quotes, _exchange, _symbol: price["now"])
    watch = SafeguardWatch(ada.desk, now=ada.desk.clock.now)
    await ada.holds(mine, "2", "100")
    await watch.once()
    price["now"] = Decimal("50.01")
    await watch.between()
    assert await ada.state(mine) == ("running", False)
    price["now"] = Decimal(50)
    await watch.between()
    assert await ada.state(mine) == ("suspended", True)
    # Killed in between: the wish to sell was taken back by nobody, yet an entry that was on its way has bought again.
    await ada.rows("UPDATE bots SET sell_asked_at = NULL WHERE id = $1", mine)
    await SafeguardWatch(ada.desk, now=ada.desk.clock.now).once()
    assert await ada.state(mine) == ("suspended", True)
    assert len(await ada.trips()) == 1


async def test_a_rule_that_arms_itself_again_lets_its_bot_go_on(site: Site) -> None:
    ada = await trader(site)
    mine = await ada.running({"losses": {"trades": 1, "rearm_after": 2}})
    now = ada.desk.clock.now()
    await ada.closed(mine, "-1", now - timedelta(minutes=20))
    assert len((await ada.look(mine, now=now))[mine].trips) == 1
    await SafeguardWatch(ada.desk, now=ada.desk.clock.now).once()
    assert (await ada.state(mine))[0] == "suspended"
    await ada.rows("UPDATE bot_trips SET at = at - interval '3 minutes' WHERE bot_id = $1", mine)
    await SafeguardWatch(ada.desk, now=ada.desk.clock.now).once()
    assert (await ada.state(mine))[0] == "running"
    (trip,) = await ada.trips()
    assert trip["rearmed_by"] == "safeguard"


async def test_a_rule_that_arms_itself_again_starts_no_bot_that_its_owner_had_suspended(site: Site) -> None:
    ada = await trader(site)
    mine = await ada.running({"losses": {"trades": 1, "rearm_after": 2}})
    assert (await ada.person.call("POST", f"{URL}/{mine}/suspend")).status_code == 200
    now = ada.desk.clock.now()
    await ada.closed(mine, "-1", now - timedelta(minutes=20))
    assert len((await ada.look(mine, now=now))[mine].trips) == 1
    await ada.rows("UPDATE bot_trips SET at = at - interval '3 minutes' WHERE bot_id = $1", mine)
    await SafeguardWatch(ada.desk, now=ada.desk.clock.now).once()
    assert (await ada.state(mine))[0] == "suspended"
    assert [trip["rearmed_by"] for trip in await ada.trips()] == ["safeguard"]


async def test_bots_without_safeguards_cost_no_reading(site: Site) -> None:
    ada = await trader(site)
    mine = await ada.running({})
    async with ada.desk.database.connection() as connection:
        assert await bots_standing(connection, [mine], now=NOON, price=at(1)) == {}
    assert (await ada.look(mine))[mine].refusal() is None
