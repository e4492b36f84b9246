"""Two tenants on one server: neither sees, changes or can tell of anything of the other's, by any route and with any id."""

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID

import httpx
import numpy as np
import pytest
import pytest_asyncio
from fastapi import APIRouter, params
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel
from sqlalchemy import select, text

from app.accounts.dependencies import CurrentUser
from app.backtests.packed import packed
from app.brokers.models import Broker
from app.core.http import SessionDep
from app.core.ids import new_id
from tests.app.botting import stored_bot
from tests.app.telling import notified
from tests.app.whole_site import STREAMS, Site, routes, running_site
from tests.emulator_process import EmulatorProcess
from tests.postgres import PostgresForTests

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: Parameters of paths that name what belongs to everybody.
_SHARED = {"exchange", "exchange_id", "symbol", "path", "section", "update_id"}
#: Places within something that has an id.
_PLACES = {"action": "start", "number": "1", "place": "1"}
#: The secret of a webhook is itself the right to use it.
_RIGHTS = {"secret"}
#: For every body that names something by its id: what else it needs.
_BODIES: dict[str, dict[str, object]] = {
    "OrderIn": {"symbol": "BTCUSDT", "side": "buy", "quantity": "0.01"},
    "OcoIn": {"symbol": "BTCUSDT", "side": "sell", "quantity": "0.01", "price": "70000", "trigger_price": "50000"},
    "LimitsIn": {"max_open_orders": 3},
    "WebhookIn": {"name": "Mine"},
    "WebhookPatch": {},
    "BrokerTryIn": {},
    "PreferencesIn": {},
    "AssistIn": {"message": "Explain.", "source": ""},
    "ValidateIn": {"source": "a = 1"},
    "QuickIn": {"source": "a = 1"},
    "BacktestIn": {
        "strategy_id": "0190a000-0000-7000-8000-000000000001",
        "symbol": "BTCUSDT",
        "start_at": "2026-01-01T00:00:00Z",
        "end_at": "2026-02-01T00:00:00Z",
    },
}
_BODIES["SearchIn"] = _BODIES["BacktestIn"]
_BODIES["BotIn"] = {
    "strategy_id": "0190a000-0000-7000-8000-000000000001",
    "broker_id": "0190a000-0000-7000-8000-000000000002",
    "symbol": "BTCUSDT",
    "mode": "live",
    "capital": "1000",
}
_BODIES["PromoteIn"] = {"mode": "paper"}
#: For every body that cannot be empty, of what an id in the path names.
_NEEDED: dict[str, dict[str, object]] = {
    "DraftIn": {"source": "a = 1", "revision": 0},
    "VersionIn": {"source": "a = 1"},
    "VersionPatch": {"note": "hers"},
    "ShareIn": {"username": "somebody"},
    "BacktestNoteIn": {"note": "hers"},
    "PromoteIn": {"broker_id": "0190a000-0000-7000-8000-000000000002", "mode": "paper"},
}
#: For every query that needs more than the id.
_QUERIES: dict[str, dict[str, str]] = {"/api/orderbook": {"symbol": "BTCUSDT"}, "/api/ticker": {"symbol": "BTCUSDT"}}
#: Closed to everybody else, whatever the id.
_OF_ADMINISTRATORS = ("/api/admin/", "/admin/")
#: Ids that whoever asks makes up.
_OWN = {"client_intent_id"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    postgres: PostgresForTests, standing_emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    async with running_site(postgres, standing_emulator, tmp_path_factory.mktemp("site")) as running:
        running.app.include_router(_FORGETFUL)
        yield running


_FORGETFUL = APIRouter()


class _Names(BaseModel):
    names: list[str]


@_FORGETFUL.get("/api/forgetful")
async def forgetful(session: SessionDep, principal: CurrentUser) -> _Names:
    """What a route does that was written in a hurry: it asks for all accounts and forgets whose."""
    del principal
    return _Names(names=list(await session.scalars(select(Broker.name))))


@_FORGETFUL.get("/api/forgetful-stranger")
async def forgetful_stranger(session: SessionDep) -> _Names:
    """The same, and it forgets to ask who is there."""
    return _Names(names=list(await session.scalars(select(Broker.name))))


@_FORGETFUL.post("/api/forgetful")
async def forgetful_change(session: SessionDep, principal: CurrentUser) -> int:
    """The same with a change."""
    del principal
    return (await session.execute(text("UPDATE brokers SET name = 'Stolen'"))).rowcount  # type: ignore[attr-defined,no-any-return]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hers(site: Site) -> dict[str, str]:
    """One id of each kind, all of them Ada's."""
    bought = await site.ada.call("POST", "/api/orders", json={"symbol": "BTCUSDT", "side": "buy", "quantity": "0.001"})
    (position,) = (await site.ada.call("GET", "/api/positions")).json()["items"]
    trade_id = await _closed_position(site)
    halt = await site.ada.call("POST", "/api/kill-switch", json={"scope": "user", "action": "stop", "confirm": True})
    assert (bought.status_code, halt.status_code) == (201, 202), (bought.text, halt.text)
    sessions = (await site.ada.call("GET", "/api/auth/sessions")).json()["items"]
    key = await site.ada.call("POST", "/api/auth/tokens", json={"name": "Hers", "scopes": ["read"]})
    user = (await site.ada.call("GET", "/api/auth/current")).json()
    mine = {"position_id": position["id"], "command_id": halt.json()["id"], "token_id": key.json()["id"], "user_id": user["id"]}
    mine |= {"default_broker_id": site.ada.ids["broker_id"], "trade_id": trade_id, "flow_id": await _flow(site, user["id"])}
    mine |= await _conversation(site, user["id"])
    mine |= {"backtest_id": await _backtest(site, mine["strategy_id"])}
    mine |= {"search_id": await _search(site, mine["backtest_id"])}
    mine |= await stored_bot(site, mine["strategy_id"])
    mine |= await notified(site, user["id"])
    return {**site.ada.ids, **mine, "session_id": sessions[0]["id"], "invitation_id": str(new_id())}


async def _closed_position(site: Site) -> str:
    """A round trip of Ada's, as the last one of her account was."""
    trade_id = new_id()
    async with site.app.state.platform_database.connection() as connection:
        await connection.execute(
            """INSERT INTO positions (id, user_id, broker_id, symbol, base, quote, source, status, quantity, opened_at, updated_at,
                                      closed_at)
               SELECT $1, user_id, broker_id, symbol, base, quote, source, 'closed', 0, opened_at, opened_at, opened_at FROM positions""",
            trade_id,
        )
    return str(trade_id)


async def _conversation(site: Site, user_id: str) -> dict[str, str]:
    """A strategy of hers and what the assistant proposed about it."""
    made = await site.ada.call("POST", "/api/strategies", json={"name": "Hers", "source": "from aristobot import Strategy\n"})
    assert made.status_code == 201, made.text
    message_id, call_id = new_id(), new_id()
    async with site.app.state.platform_database.connection() as connection:
        await connection.execute(
            """INSERT INTO assistant_calls (id, user_id, provider, model, outcome, started_at, seen_at, ended_at, cost)
               VALUES ($1, $2, 'ollama', 'hers', 'done', now(), now(), now(), 1)""",
            call_id,
            UUID(user_id),
        )
        await connection.execute(
            """INSERT INTO assistant_messages (id, user_id, strategy_id, role, text, proposal, call_id, said_at)
               VALUES ($1, $2, $3, 'assistant', 'Hers alone.', 'x = 1', $4, now())""",
            message_id,
            UUID(user_id),
            UUID(made.json()["id"]),
            call_id,
        )
    return {"strategy_id": made.json()["id"], "message_id": str(message_id)}


async def _backtest(site: Site, strategy_id: str) -> str:
    """A backtest of hers that came to something."""
    asked = {"strategy_id": strategy_id, "symbol": "BTCUSDT", "timeframe": "1h", "note": "Hers."}
    made = await site.ada.call("POST", "/api/backtests", json={**asked, "start_at": "2026-01-01T00:00Z", "end_at": "2026-02-01T00:00Z"})
    assert made.status_code == 201, made.text
    columns = {name: np.array([0.0, 1.0]) for name in ("step", "equity")} | {"step": np.array([0, 60_000])}
    async with site.app.state.platform_database.connection() as connection:
        await connection.execute(
            """INSERT INTO backtest_results (backtest_id, user_id, trades, fills, equity)
               SELECT id, user_id, $2, $2, $2 FROM backtests WHERE id = $1""",
            UUID(made.json()["id"]),
            packed(columns),
        )
    return str(made.json()["id"])


async def _search(site: Site, backtest_id: str) -> str:
    """A search of hers with a trial, and what was found out about her backtest."""
    search_id = new_id()
    async with site.app.state.platform_database.connection() as connection:
        for query in (
            """INSERT INTO searches (id, user_id, number, strategy_id, version_id, backtest_id, header, parameters, space, method,
                                     objective, least_trades, test_percent, wanted, seed, state, tried, created_at, finished_at)
               SELECT $1, user_id, 1, strategy_id, version_id, id, '{}', '{}', '{"axes": []}', 'grid',
                      'net', 0, 0, 1, 1, 'stopped', 1, now(), now() FROM backtests WHERE id = $2""",
            """INSERT INTO search_trials (search_id, number, user_id, point, parameters)
               SELECT $1, 1, user_id, '[]', '{}' FROM backtests WHERE id = $2""",
            """INSERT INTO robustness_checks (backtest_id, user_id, state, created_at, finished_at)
               SELECT id, user_id, 'completed', now(), now() FROM backtests WHERE id = $2 AND $1::uuid IS NOT NULL""",
        ):
            await connection.execute(query, search_id, UUID(backtest_id))
    return str(search_id)


async def _flow(site: Site, user_id: str) -> str:
    """A deposit of hers."""
    flow_id = new_id()
    async with site.app.state.platform_database.connection() as connection:
        await connection.execute(
            """INSERT INTO cash_flows (id, user_id, broker_id, asset, amount, value_usdt, since, at, recorded_at, note)
               VALUES ($1, $2, $3, 'USDT', 123456, 123456, now(), now(), now(), 'deposit')""",
            flow_id,
            UUID(user_id),
            UUID(site.ada.ids["broker_id"]),
        )
    return str(flow_id)


def paths(site: Site) -> Iterator[tuple[str, APIRoute, set[str]]]:
    """Every method of every route that names somebody's own by an id in its path."""
    for method, route in routes(site.app):
        names = set(re.findall(r"{(\w+)", route.path)) - _SHARED - _RIGHTS - _PLACES.keys()
        if names:
            yield method, route, names


def query_names(asked: Dependant) -> set[str]:
    """What a route and all that it depends on read from the query."""
    return {field.name for field in asked.query_params}.union(*map(query_names, asked.dependencies))


def queries(site: Site) -> Iterator[tuple[str, APIRoute, str]]:
    for method, route in routes(site.app):
        for name in query_names(route.dependant):
            if name.endswith("_id") and name not in _SHARED:
                yield method, route, name


def bodies(site: Site) -> Iterator[tuple[str, APIRoute, str, str]]:
    for method, route in routes(site.app):
        for field in route.dependant.body_params:
            kind = field.field_info.annotation
            # What a form of a page says is refused in the form itself, by the same services.
            if isinstance(kind, type) and issubclass(kind, BaseModel) and not isinstance(field.field_info, params.Form):
                yield from ((method, route, kind.__name__, name) for name in kind.model_fields if name.endswith("_id") and name not in _OWN)


def needed(route: APIRoute) -> dict[str, object]:
    """The least that a route takes as its body."""
    kinds = [getattr(field.field_info.annotation, "__name__", "") for field in route.dependant.body_params]
    return next((_NEEDED[kind] for kind in kinds if kind in _NEEDED), {})


async def ask(site: Site, method: str, path: str, **options: Any) -> httpx.Response:
    return await site.eve.browse(method, path, headers={"X-CSRF-Token": site.eve.csrf}, **options)


def told(answer: httpx.Response) -> tuple[int, str]:
    """What an answer gives away: all of it but the id of the request and times, the clock of a page among them."""
    return answer.status_code, re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|(\d{4}-\d\d-\d\dT)?\d\d:\d\d:\d\d[0-9:.+Z]*", "", answer.text)


async def test_an_id_of_another_tenant_in_a_path_is_not_found_and_cannot_be_told_from_none(site: Site, hers: dict[str, str]) -> None:
    tried = 0
    for method, route, names in paths(site):
        assert names <= hers.keys(), f"{route.path}: this test knows no such id yet"
        body = needed(route)
        answer = await ask(site, method, route.path.format(**hers, **_PLACES), json=body)
        assert answer.status_code == (403 if route.path.startswith(_OF_ADMINISTRATORS) else 404), (method, route.path, answer.text)
        unknown = await ask(site, method, route.path.format(**dict.fromkeys(names, str(new_id())), **_PLACES), json=body)
        assert told(unknown) == told(answer), (method, route.path)
        tried += len(names)
    print(f"{tried} ids in paths")
    assert tried >= 25


async def test_an_id_of_another_tenant_in_a_query_or_a_body_finds_nothing(site: Site, hers: dict[str, str]) -> None:
    tried = 0
    for method, route, name in queries(site):
        others = _QUERIES.get(route.path, {})
        answers = [await ask(site, method, route.path, params={**others, name: value}) for value in (hers[name], str(new_id()))]
        assert told(answers[0]) == told(answers[1]), (method, route.path, name)
        assert hers[name] not in answers[0].text or answers[0].status_code >= 400
        tried += 1
    for method, route, kind, name in bodies(site):
        path = route.path.format(**dict.fromkeys(re.findall(r"{(\w+)", route.path), str(new_id())) | _PLACES)
        answers = [await ask(site, method, path, json={**_BODIES[kind], name: value}) for value in (hers[name], str(new_id()))]
        assert {answer.status_code for answer in answers} == {404}, (method, path, kind, answers[0].text)
        tried += 1
    print(f"{tried} ids in queries and bodies")
    assert tried >= 7


async def test_nothing_of_another_tenant_is_in_any_list_or_page(site: Site, hers: dict[str, str]) -> None:
    for method, route in routes(site.app):
        if method != "GET" or "{" in route.path or route.path in STREAMS:
            continue
        answer = await ask(site, "GET", route.path)
        assert answer.status_code < 500, (route.path, answer.text)
        assert not [name for name, value in hers.items() if value in answer.text], route.path


async def test_an_update_of_symbols_is_everybodys_and_does_not_say_who_began_it(site: Site, hers: dict[str, str]) -> None:
    begun = await site.ada.call("POST", "/api/symbols/updates", json={"exchange": "binance"})
    assert (begun.status_code, begun.json()["is_mine"]) == (202, True), begun.text
    again = await site.ada.call("POST", f"/api/brokers/{hers['broker_id']}/update_symbols")
    assert again.status_code in (202, 429), "joins the one that runs, or is too soon after it"
    for path in (f"/api/symbols/updates/{begun.json()['id']}", "/api/symbols/updates"):
        seen = await site.eve.call("GET", path)
        assert seen.status_code == 200
        assert '"is_mine":false' in seen.text
        assert hers["user_id"] not in seen.text


async def test_all_of_it_is_still_there_for_its_owner(site: Site, hers: dict[str, str]) -> None:
    assert [found["id"] for found in (await site.ada.call("GET", "/api/positions")).json()["items"]] == [hers["position_id"]]
    assert (await site.ada.call("GET", f"/api/orders/{hers['order_id']}")).json()["state"] == "open"
    assert (await site.ada.call("GET", f"/api/brokers/{hers['broker_id']}")).json()["name"] == "Main"
    assert (await site.ada.call("GET", f"/api/kill-switch/{hers['command_id']}")).status_code == 200


async def test_a_query_that_forgets_whose_rows_it_wants_gets_its_own_users_only(site: Site) -> None:
    assert (await site.ada.call("GET", "/api/forgetful")).json() == {"names": ["Main"]}
    assert (await site.eve.call("GET", "/api/forgetful")).json() == {"names": []}
    assert (await site.http.get("/api/forgetful-stranger")).json() == {"names": []}
    assert (await site.eve.call("POST", "/api/forgetful")).json() == 0
    assert (await site.ada.call("GET", "/api/forgetful")).json() == {"names": ["Main"]}


async def test_users_at_the_same_moment_on_the_same_connections_see_their_own(site: Site) -> None:
    for _ in range(30):
        for person, names in ((site.ada, ["Main"]), (site.eve, [])):
            assert (await person.call("GET", "/api/forgetful")).json() == {"names": names}
            assert len((await person.call("GET", "/api/positions")).json()["items"]) == len(names)


async def test_every_table_with_a_tenant_has_a_policy_that_its_owner_obeys_too(site: Site) -> None:
    async with site.app.state.platform_database.connection() as connection:
        rows = await connection.fetch(
            """
            SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity AS is_forced,
                   (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid AND p.polwithcheck IS NOT NULL) AS policies
              FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'user_id' AND NOT a.attisdropped
             WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
            """
        )
        us = await connection.fetchrow(
            "SELECT rolsuper OR rolbypassrls AS passes, pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE relname = 'orders'),"
            " 'USAGE') AS owns FROM pg_roles WHERE rolname = current_user"
        )
    assert len(rows) >= 28
    assert [row["relname"] for row in rows if not row["is_forced"] or row["policies"] != 1] == []
    assert (us["passes"], us["owns"]) == (False, False)


async def test_who_works_for_nobody_sees_nothing_and_nobody_writes_for_another(site: Site, hers: dict[str, str]) -> None:
    eve = (await site.eve.call("GET", "/api/auth/current")).json()["id"]
    ada = (await site.ada.call("GET", "/api/auth/current")).json()["id"]
    async with site.app.state.database.connection() as connection:
        for table in (
            "orders",
            "brokers",
            "users",
            "user_sessions",
            "positions",
            "webhooks",
            "strategies",
            "strategy_versions",
            "backtests",
            "searches",
            "search_trials",
            "robustness_checks",
            "bots",
            "bot_signals",
            "bot_trips",
        ):
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0, table  # constants
        await connection.work_for(eve)
        assert await connection.fetchval("SELECT count(*) FROM users") == 1
        put = "INSERT INTO risk_limits (scope_id, user_id, updated_at) VALUES ($1, $1, now())"
        with pytest.raises(Exception, match="row-level security"):
            await connection.execute(put, UUID(ada))
        moved = await connection.execute("UPDATE positions SET user_id = $1 WHERE id = $2", UUID(eve), UUID(hers["position_id"]))
        assert moved == "UPDATE 0"
