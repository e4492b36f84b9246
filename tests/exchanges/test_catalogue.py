"""Which exchanges one can have an account at, and where an account can be tried with play money."""

import subprocess
import sys
from pathlib import Path

import pytest

import app.exchanges.untested
from app.domain.enums import OrderType
from app.errors import Unsupported
from app.exchanges.capabilities import UNTESTED, capabilities_of
from app.exchanges.catalogue import EXCHANGES, OTHERS, PAPER, Sandbox, venue_of
from tests.exchanges import untested_list
from tests.exchanges.wire.calls import go, order
from tests.exchanges.wire.clients import VENUES, make_client
from tests.exchanges.wire.record import answers_of
from tests.exchanges.wire.session import RecordingSession

#: Where a test account's order goes, and what marks it.
SANDBOXES = {
    "binance": ("testnet.binance.vision", None),
    "bybit": ("api-testnet.bybit.com", None),
    "gate": ("api-testnet.gateapi.io", None),
    "okx": ("www.okx.com", ("x-simulated-trading", "1")),
    "bitget": ("api.bitget.com", ("PAPTRADING", "1")),
}
NO_SANDBOX = ("binanceus", "kraken", "coinbase", "kucoin", "mexc")


def test_the_tested_venues_are_those_whose_requests_were_looked_at() -> None:
    assert [key for key in EXCHANGES if key != PAPER] == list(VENUES)
    assert all(capabilities_of(venue).is_tested for venue in VENUES)
    assert set(SANDBOXES) | set(NO_SANDBOX) == set(VENUES)


def test_the_list_of_all_others_is_what_the_installed_ccxt_can_trade() -> None:
    written = Path(app.exchanges.untested.__file__).read_text(encoding="utf-8")

    assert written == untested_list.text(), "run `uv run python -m tests.exchanges.untested_list`"


def test_every_other_exchange_takes_market_and_limit_orders_and_a_paper_account_is_offered_for_trying() -> None:
    assert len(OTHERS) > 40
    assert not OTHERS.keys() & EXCHANGES.keys()
    for key, venue in OTHERS.items():
        assert capabilities_of(key) == UNTESTED
        assert {kind for kind in OrderType if UNTESTED.is_native(kind)} == {OrderType.MARKET, OrderType.LIMIT}
        assert (venue.is_tested, venue.has_testnet) == (False, False)
        assert venue.why_no_sandbox == f"A test environment of {venue.name} has not been tried here; use a paper account."


@pytest.mark.parametrize("exchange", NO_SANDBOX)
def test_a_venue_without_a_test_environment_says_so(exchange: str) -> None:
    venue = EXCHANGES[exchange]

    assert venue.why_no_sandbox == f"{venue.name} offers no test environment; use a paper account."
    with pytest.raises(Unsupported, match="offers no test environment"):
        make_client(exchange, RecordingSession(), is_testnet=True)


def test_an_exchange_that_nobody_tried_gets_no_test_account() -> None:
    for exchange in ("bitstamp", "krakenfutures"):
        with pytest.raises(Unsupported, match="test environment"):
            make_client(exchange, RecordingSession(), is_testnet=True)


@pytest.mark.asyncio
@pytest.mark.parametrize("exchange", SANDBOXES)
async def test_a_test_account_s_orders_never_reach_the_real_market(exchange: str) -> None:
    host, mark = SANDBOXES[exchange]
    for is_testnet in (True, False):
        session = RecordingSession(answers_of(exchange))
        client = make_client(exchange, session, is_testnet=is_testnet)

        await client.place_order(order(OrderType.LIMIT), guard=go)

        (sent,) = session.sent
        if mark is None:
            assert (sent.host == host) is is_testnet
        else:
            assert sent.host == host
            assert (sent.headers.get(mark[0]) == mark[1]) is is_testnet
        await client.close()
    assert EXCHANGES[exchange].sandbox is (Sandbox.DEMO if mark else Sandbox.TESTNET)


@pytest.mark.asyncio
@pytest.mark.parametrize("exchange", ["okx", "bitget"])
async def test_a_test_account_s_balance_is_that_of_the_test_account(exchange: str) -> None:
    session = RecordingSession(answers_of(exchange))
    client = make_client(exchange, session, is_testnet=True)

    await client.fetch_balances()

    name, value = SANDBOXES[exchange][1] or ("", "")
    assert all(sent.headers.get(name) == value for sent in session.sent)
    await client.close()


def test_looking_into_the_catalogue_does_not_import_ccxt() -> None:
    """It takes a second or more, and the catalogue is on the way to the first page."""
    look = "import sys, app.exchanges.errors, app.brokers.router, app.ui.pages.brokers; sys.exit('ccxt' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", look], check=False).returncode == 0


def test_an_unknown_id_is_no_venue() -> None:
    assert venue_of("nosuchexchange") is None
    assert venue_of("bitstamp") is OTHERS["bitstamp"]
