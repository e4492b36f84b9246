"""Ticket forms that are sent when things are no longer as they were shown: another tab, an account that is gone, a name used before."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from app.core.ids import new_id
from tests.app.conftest import NOW_MINUTE, script
from tests.app.test_ticket_pages import add_account, hidden, orders, post, text
from tests.app.whole_site import Site, running_site
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


async def asked(site: Site, **form: Any) -> dict[str, Any]:
    """The form that the question sends when it is answered with yes."""
    question = await post(site.ada, "review", **form)
    assert question.status_code == 200, question.text
    return {name: values if len(values) > 1 else values[0] for name, values in hidden(question.text).items()}


async def remove(site: Site, account: str) -> None:
    gone = await site.ada.call("DELETE", f"/api/brokers/{account}")
    assert gone.status_code < 300, gone.text


async def test_an_order_for_an_account_that_was_removed_goes_to_no_other(site: Site, market: EmulatorProcess) -> None:
    """The question of before, and the form of somebody who wants no question."""
    account = await add_account(site, market, "Gone", USDT="1000")
    form: dict[str, Any] = {"broker_id": account, "quantity": "0.001"}
    answered = await asked(site, **form)
    await remove(site, account)
    before = len(await orders(site))
    for sent in (answered, form):
        answer = await post(site.ada, "send", **sent)
        assert answer.status_code == 422, answer.text
        assert "An account that was chosen is no longer there." in text(answer.text)
    assert len(await orders(site)) == before, "it went to the default account"


async def test_an_order_for_several_accounts_of_which_one_is_gone_is_asked_about_again(site: Site, market: EmulatorProcess) -> None:
    kept, gone = await add_account(site, market, "Kept", USDT="1000"), await add_account(site, market, "Left", USDT="1000")
    answered = await asked(site, broker_id=[kept, gone], quantity="0.001")
    await remove(site, gone)
    before = len(await orders(site))
    answer = await post(site.ada, "send", **answered)
    assert answer.status_code == 422
    assert len(await orders(site)) == before


async def test_an_order_for_a_strangers_account_goes_to_none_of_ones_own(site: Site, market: EmulatorProcess) -> None:
    key = await add_account(site, market, "Mine", USDT="1000")
    before = len(await orders(site))
    for id_ in (str(new_id()), "nonsense", key.upper()):
        answer = await post(site.ada, "send", broker_id=id_, quantity="0.001")
        assert answer.status_code == 422, id_
    assert len(await orders(site)) == before


async def test_an_order_for_no_account_is_not_sent_to_the_default_one(site: Site) -> None:
    before = len(await orders(site))
    answer = await post(site.ada, "send", broker_id=[], quantity="0.001")
    assert answer.status_code == 422
    assert "Choose an account." in text(answer.text)
    assert len(await orders(site)) == before


@pytest.mark.parametrize("sized", ["", "quantity:", "quantity:-1", "quantity:nan", "amount:1e400", "quantity:0"])
async def test_an_answer_whose_sizes_cannot_be_read_sends_nothing_and_breaks_nothing(site: Site, sized: str) -> None:
    answered = await asked(site, quantity="0.001")
    (name,) = [name for name in answered if name.startswith("sized-")]
    before = len(await orders(site))
    answer = await post(site.ada, "send", **{**answered, name: sized})
    assert answer.status_code == 422, answer.text
    assert len(await orders(site)) == before


@pytest.mark.parametrize(
    "changed",
    [{"quantity": "0.002"}, {"price": "51000"}, {"kind": "stop", "trigger_price": "70000"}, {"source": "amount", "amount": "90"}],
)
async def test_a_name_that_was_used_is_not_answered_with_another_orders_outcome(site: Site, changed: dict[str, str]) -> None:
    """The answer was lost on its way, and what the trader sends now is something else."""
    form: dict[str, Any] = {"kind": "limit", "quantity": "0.001", "price": "50000", "intent": str(new_id())}
    first = await post(site.ada, "send", **form)
    assert "The order stands at Binance." in text(first.text)
    before = len(await orders(site))
    again = await post(site.ada, "send", **{**form, **changed})
    assert "was used for another order" in text(again.text)
    assert len(await orders(site)) == before
    await site.ada.call("DELETE", "/api/orders")


@pytest.mark.parametrize("same", [{"quantity": "0.0010009"}, {"source": "amount", "amount": "50.0"}, {"source": "percent", "percent": "1"}])
async def test_a_form_that_is_sent_again_is_the_order_that_it_was_rounded_or_not(site: Site, same: dict[str, str]) -> None:
    form: dict[str, Any] = {"kind": "limit", "quantity": "0.001", "price": "50000.001", "intent": str(new_id()), **same}
    first = await post(site.ada, "send", **form)
    again = await post(site.ada, "send", **form)
    assert "The order stands at Binance." in text(first.text)
    assert "The order stands at Binance." in text(again.text)
    await site.ada.call("DELETE", "/api/orders")
