"""The order ticket through the whole application: computed while it is typed, asked about, sent once, in both languages."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio

from app.core.ids import new_id
from tests.app.conftest import API_SECRET, NOW_MINUTE, ORDER_PATH, script
from tests.app.whole_site import Person, Site, running_site
from tests.emulator_process import WITHOUT_LIMITS, EmulatorProcess
from tests.postgres import PostgresForTests

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    """An exchange whose market stands at 60000."""
    path = script(tmp_path_factory.mktemp("market"))
    with EmulatorProcess("--replay", str(path), "--history", str(NOW_MINUTE), "--paused", *WITHOUT_LIMITS) as process:
        yield process


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(postgres: PostgresForTests, market: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with running_site(postgres, market, tmp_path_factory.mktemp("site")) as running:
        yield running


def headers(person: Person, language: str = "en") -> dict[str, str]:
    return {"X-CSRF-Token": person.csrf, "HX-Request": "true", "Accept-Language": language}


async def post(person: Person, action: str, language: str = "en", **form: Any) -> httpx.Response:
    account = person.ids.get("broker_id", "")
    given = {"symbol": "BTC/USDT", "kind": "market", "side": "buy", "source": "quantity", "intent": str(new_id()), **form}
    given.setdefault("broker_id", account)
    if language != "en":
        assert (await person.call("PUT", "/api/auth/preferences", json={"language": language})).status_code == 200
    try:
        return await person.browse("POST", f"/trading/ticket/{action}", data=given, headers=headers(person))
    finally:
        if language != "en":
            await person.call("PUT", "/api/auth/preferences", json={"language": "en"})


def text(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split()).replace("\xa0", " ").replace("\u202f", " ")


def toast(answer: httpx.Response) -> tuple[str, str]:
    told = json.loads(answer.headers["HX-Trigger"])["toast"]
    return told["level"], told["text"]


def hidden(html: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r'<input type="hidden"(?: id="[^"]*")? name="([^"]+)" value="([^"]*)"', html):
        found.setdefault(name, []).append(value)
    return found


def sentence(html: str, field: str) -> str:
    found = re.search(rf'id="tk-{field}-note">(.*?)</p>', html, re.DOTALL)
    assert found is not None, field
    return text(found[1])


async def orders(site: Site) -> list[Any]:
    return list((await site.ada.call("GET", "/api/orders?limit=500")).json()["items"])


async def add_account(site: Site, market: EmulatorProcess, name: str, **balances: str) -> str:
    key = f"key-{name}-{new_id().hex}"
    market.open_account(key, API_SECRET, balances)
    made = await site.ada.call("POST", "/api/brokers", json={"exchange": "binance", "name": name, "api_key": key, "api_secret": API_SECRET})
    return str(made.json()["id"])


async def test_the_ticket_is_a_fragment_of_a_page_and_a_page_of_its_own(site: Site) -> None:
    alone = await site.ada.browse("GET", "/trading/ticket?symbol=btcusdt")
    assert alone.status_code == 200
    assert '<aside class="tk alone" id="ticket-panel"' in alone.text
    fragment = await site.ada.browse("GET", "/trading/ticket?symbol=btcusdt", headers={"HX-Request": "true"})
    assert fragment.text.startswith('<section class="panel ticket-panel" id="ticket"')
    assert re.search(r'id="ticket-intent" name="intent" value="[0-9a-f-]{36}"', fragment.text)
    assert 'hx-post="/trading/ticket/review"' in fragment.text
    empty = await site.eve.browse("GET", "/trading/ticket", headers={"HX-Request": "true"})
    assert "No broker account yet" in empty.text
    unknown = await site.ada.browse("GET", "/trading/ticket?symbol=NOPE", headers={"HX-Request": "true"})
    assert "There is no ticket for this symbol" in unknown.text


async def test_figures_follow_the_field_that_was_typed_in_the_readers_language(site: Site) -> None:
    english = await post(site.ada, "preview", quantity="0,01")
    assert 'data-quantity="0.01"' in english.text
    assert "Buy 0.01000 BTC" in text(english.text)
    assert "assumed: the usual rate" in english.text or "as your last fills" in english.text
    amount = await post(site.ada, "preview", source="amount", amount="600", quantity="5")
    assert re.search(r'data-quantity="0\.009\d+"', amount.text), "the amount is meant, whatever stands as quantity"
    french = await post(site.ada, "preview", language="fr", source="percent", percent="25", side="sell")
    assert 'data-quantity="0,25' in french.text or 'data-quantity="0,24' in french.text
    assert "Vendre" in text(french.text)


async def test_what_is_missing_is_no_mistake_while_it_is_typed(site: Site) -> None:
    forms: tuple[dict[str, str], ...] = ({}, {"kind": "limit", "quantity": "1"}, {"kind": "oco"}, {"kind": "trailing", "quantity": "0.01"})
    for form in forms:
        found = await post(site.ada, "preview", **form)
        assert found.status_code == 200
        assert "ticket-denial" not in found.text


@pytest.mark.parametrize(
    ("form", "field", "words"),
    [
        ({"quantity": "1.234,5"}, "quantity", "This must be a number above 0"),
        ({"quantity": "0"}, "quantity", "This must be a number above 0"),
        ({"quantity": ""}, "quantity", "How much?"),
        ({"source": "amount", "amount": "3.9"}, "amount", "is below the exchange minimum of 5 USDT"),
        ({"kind": "limit", "quantity": "0.01"}, "price", "At what price?"),
        ({"kind": "stop", "quantity": "0.01", "trigger_price": "50000"}, "trigger_price", "must be above the market"),
        ({"kind": "stop", "quantity": "0.01"}, "trigger_price", "At what price?"),
        ({"kind": "trailing", "quantity": "0.01"}, "trailing_percent", "At what distance?"),
        ({"kind": "trailing", "quantity": "0.01", "trailing_percent": "90"}, "trailing_percent", "must be between"),
        ({"quantity": "0.01", "stop_loss": "70000"}, "stop_loss", "stop must be below"),
        ({"quantity": "0.01", "target_price": "50000", "target_percent": "100"}, "target_price-0", "must be above"),
        ({"source": "risk", "risk": "1", "risk_unit": "money"}, "stop_loss", "needs a stop"),
        (
            {"kind": "oco", "side": "sell", "quantity": "0.01", "price": "59000", "trigger_price": "50000"},
            "price",
            "must be above the market",
        ),
    ],
)
async def test_a_mistake_stands_at_its_field_and_nothing_is_sent(site: Site, form: dict[str, str], field: str, words: str) -> None:
    before = len(await orders(site))
    for action in ("review", "send"):
        answer = await post(site.ada, action, **form)
        assert answer.status_code == 422, answer.text
        assert words in sentence(answer.text, field)
        assert re.search(rf'id="tk-{field}"[^>]* aria-invalid="true"', answer.text)
        assert "data-has-errors" in answer.text
        assert list(json.loads(answer.headers["HX-Trigger"])) == ["dialog-close"], "it is said once, where the keyboard goes"
    assert len(await orders(site)) == before


async def test_a_mistake_is_told_in_french(site: Site) -> None:
    answer = await post(site.ada, "review", language="fr", source="amount", amount="3,9")
    assert "est sous le minimum de la plateforme" in sentence(answer.text, "amount")


async def test_the_question_shows_the_exact_order_and_sends_exactly_that_once(site: Site, market: EmulatorProcess) -> None:
    account = await add_account(site, market, "Asked", USDT="1000")
    intent = str(new_id())
    form: dict[str, Any] = {"broker_id": account, "source": "percent", "percent": "50", "intent": intent}
    question = await post(site.ada, "review", **form)
    assert question.status_code == 200, question.text
    assert 'data-opens="ticket-dialog"' in question.text
    assert re.search(r"<button[^>]* autofocus>Cancel</button>", question.text)
    assert "500.00000000 USDT" in text(question.text) or "500 USDT" in text(question.text)
    sent: dict[str, Any] = {**form, **{name: values if len(values) > 1 else values[0] for name, values in hidden(question.text).items()}}
    assert sent[f"sized-{account}"].startswith("amount:500")
    first, *others = await asyncio.gather(*(post(site.ada, "send", **sent) for _ in range(3)))
    assert first.status_code == 200, first.text
    assert "Bought" in first.text
    assert toast(first)[0] == "success"
    assert [answer.status_code for answer in others] == [200, 200]
    made = [order for order in await orders(site) if order["broker_id"] == account]
    assert [(order["state"], order["notional"]) for order in made] == [("filled", "500")]
    fresh = re.search(r'id="ticket-intent" name="intent" value="([^"]+)"', first.text)
    assert fresh is not None
    assert fresh[1] != intent, "the next click is another order"


async def test_the_same_form_again_is_the_same_order_and_another_order_under_its_name_is_refused(site: Site) -> None:
    intent = str(new_id())
    limit: dict[str, Any] = {"kind": "limit", "quantity": "0.001", "price": "50000", "post_only": "on", "intent": intent}
    first = await post(site.ada, "send", **limit)
    assert "The order stands at Binance." in first.text
    before = len(await orders(site))
    again = await post(site.ada, "send", **limit)
    assert "The order stands at Binance." in again.text
    other = await post(site.ada, "send", **{**limit, "side": "sell", "price": "70000"})
    assert "was used for another order" in other.text
    assert len(await orders(site)) == before
    (made,) = [order for order in await orders(site) if order["price"] == "50000" and order["post_only"]]
    await site.ada.call("DELETE", f"/api/orders/{made['id']}")


async def test_a_form_without_its_name_is_not_sent(site: Site) -> None:
    before = len(await orders(site))
    answer = await post(site.ada, "send", quantity="0.01", intent="anything")
    assert answer.status_code == 422
    assert "out of date" in answer.text
    assert len(await orders(site)) == before


@pytest.mark.parametrize(
    ("form", "kind", "shown"),
    [
        ({"kind": "limit", "price": "50000", "time_in_force": "ioc"}, "limit", "nothing was filled"),
        ({"kind": "stop", "trigger_price": "70000"}, "stop_market", "stands at Binance"),
        ({"kind": "stop", "trigger_price": "70000", "has_limit": "on", "price": "70100"}, "stop_limit", "stands at Binance"),
        ({"kind": "take_profit", "trigger_price": "50000"}, "take_profit", "stands at Binance"),
        ({"kind": "take_profit", "trigger_price": "50000", "has_limit": "on", "price": "50100"}, "take_profit_limit", "stands at Binance"),
        ({"kind": "trailing", "trailing_percent": "2"}, "trailing_stop", "stands at Binance"),
        ({"kind": "trailing", "trailing_percent": "0.05"}, "trailing_stop", "This server watches the market"),
    ],
)
async def test_every_kind_of_order_is_on_the_ticket(site: Site, form: dict[str, str], kind: str, shown: str) -> None:
    answer = await post(site.ada, "send", quantity="0.001", **form)
    assert answer.status_code == 200, answer.text
    assert shown in text(answer.text)
    newest = (await orders(site))[0]
    assert newest["type"] == kind
    await site.ada.call("DELETE", f"/api/orders/{newest['id']}")


async def test_a_pair_is_sent_as_one(site: Site) -> None:
    form: dict[str, Any] = {"kind": "oco", "side": "sell", "quantity": "0.01", "price": "70000", "trigger_price": "50000"}
    question = await post(site.ada, "review", **form)
    assert "70,000.00" in question.text
    assert "50,000.00" in question.text
    answer = await post(site.ada, "send", **form)
    assert "The order stands at Binance." in answer.text
    first, second, *_ = await orders(site)
    assert first["group_id"] == second["group_id"] is not None
    await site.ada.call("DELETE", f"/api/orders/{first['id']}")


async def test_a_bracket_says_what_it_does_and_who_watches(site: Site) -> None:
    form: dict[str, Any] = {"quantity": "0.01", "stop_loss": "55000", "target_price": ["65000", "70000"], "target_percent": ["50", "50"]}
    found = text((await post(site.ada, "preview", **form, break_even_after="1")).text)
    assert "a stop at 55,000.00 and a target at 65,000.00" in found
    assert "are placed at Binance as OCO" in found
    assert "Once target 1 is reached, the stop moves to the entry." in found
    assert "Reward to risk" in found
    french = text((await post(site.ada, "preview", language="fr", quantity="0.01", bracket_trailing="0.05")).text)
    assert "ce serveur surveille" in french.lower()


async def test_one_order_goes_to_several_accounts_with_a_result_for_each(site: Site, market: EmulatorProcess) -> None:
    rich, poor = await add_account(site, market, "Rich", USDT="2000"), await add_account(site, market, "Poor", USDT="7")
    form: dict[str, Any] = {"broker_id": [rich, poor], "source": "percent", "percent": "50"}
    figures = text((await post(site.ada, "preview", **form)).text)
    assert "Rich" in figures
    assert "below the exchange minimum" in figures
    question = await post(site.ada, "review", **form)
    assert "Nothing is sent there:" in question.text
    answer = await post(site.ada, "send", **form)
    assert answer.status_code == 200, answer.text
    told = text(answer.text)
    assert "Rich Bought" in told
    assert "Poor BTC/USDT: 3 USDT is below the exchange minimum" in told
    assert toast(answer)[0] == "error"


async def test_an_order_in_doubt_is_asked_about_until_it_is_known(site: Site, market: EmulatorProcess) -> None:
    market.fault("drop_after", method="POST", path=ORDER_PATH)
    answer = await post(site.ada, "send", quantity="0.001")
    assert "Binance did not answer. The order may or may not exist. We are checking; nothing will be sent twice." in text(answer.text)
    assert toast(answer)[0] == "warning"
    assert 'hx-trigger="every 2s"' in answer.text
    address = re.search(r'hx-get="(/trading/ticket/orders/[^"]+)"', answer.text)
    assert address is not None
    deadline = asyncio.get_running_loop().time() + 20
    while "Bought" not in (row := (await site.ada.browse("GET", address[1], headers={"HX-Request": "true"})).text):
        assert asyncio.get_running_loop().time() < deadline, row
        await asyncio.sleep(0.1)
    assert "hx-trigger" not in row


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            "state = 'lost', updated_at = '2026-11-26 12:03:20Z'",
            "Checked until 12:03:20 UTC: the order never reached Binance. No money moved.",
        ),
        ("state = 'unknown', sent_at = now()", "Nous vérifions ; rien ne sera envoyé deux fois."),
        ("state = 'rejected', detail = 'Not enough USDT: needed 501.20, free 480.11.'", "Not enough USDT: needed 501.20, free 480.11."),
        ("state = 'expired'", "nothing was filled, and nothing stands"),
        ("state = 'partial', filled_quantity = 0.0001", "Partly filled; the rest stands at Binance."),
    ],
)
async def test_each_outcome_has_its_sentence(site: Site, changes: str, words: str) -> None:
    order = site.ada.ids["order_id"]
    async with site.app.state.platform_database.connection() as connection:
        language = "fr" if "vérifions" in words else "en"
        await site.ada.call("PUT", "/api/auth/preferences", json={"language": language})
        for _ in range(5):  # the running engine may settle it before it is looked at
            await connection.execute(f"UPDATE orders SET {changes} WHERE id = $1", UUID(order))
            shown = text((await site.ada.browse("GET", f"/trading/ticket/orders/{order}", headers={"HX-Request": "true"})).text)
            if words in shown:
                break
        await site.ada.call("PUT", "/api/auth/preferences", json={"language": "en"})
        await connection.execute("UPDATE orders SET state = 'open', filled_quantity = 0, detail = NULL WHERE id = $1", UUID(order))
    assert words in shown
    assert (await site.eve.browse("GET", f"/trading/ticket/orders/{order}", headers={"HX-Request": "true"})).status_code == 404


async def test_a_person_who_wants_no_question_sends_at_once(site: Site) -> None:
    await site.ada.call("PUT", "/api/auth/preferences", json={"confirm_orders": False})
    fragment = await site.ada.browse("GET", "/trading/ticket", headers={"HX-Request": "true"})
    assert 'hx-post="/trading/ticket/send"' in fragment.text
    await site.ada.call("PUT", "/api/auth/preferences", json={"confirm_orders": True})


async def test_a_strangers_account_is_not_on_the_ticket(site: Site) -> None:
    theirs = site.ada.ids["broker_id"]
    answer = await post(site.eve, "send", broker_id=theirs, quantity="0.01")
    assert answer.status_code == 422
    assert "There is no broker account yet" in answer.text


async def test_an_exchange_that_has_blocked_this_server_and_a_key_that_no_longer_works_are_told_as_such(
    site: Site, market: EmulatorProcess
) -> None:
    account = await add_account(site, market, "Locked", USDT="1000")
    refusal = {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}
    market.fault("status_before", method="POST", path=ORDER_PATH, status=401, body=refusal)
    refused = await post(site.ada, "send", broker_id=account, quantity="0.001")
    assert refused.status_code == 200, refused.text
    assert "The API key no longer works, or this server" in text(refused.text)
    assert toast(refused)[0] == "error"
    paused = await post(site.ada, "send", broker_id=account, quantity="0.001")
    assert paused.status_code == 422
    assert "trading on this account is paused" in text(paused.text)
    market.fault("ban", code=418, retry_after=60)
    blocked = await post(site.ada, "send", quantity="0.001")
    assert "has blocked this server" in text(blocked.text)
    assert "Orders already there are unaffected." in text(blocked.text)
