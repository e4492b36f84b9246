import pytest

from tests.emulator.test_order_lists import OCO, OTO, place
from tests.emulator.test_user_events import Api, api_of
from tests.emulator_process import EmulatorProcess, SignedClient

pytestmark = pytest.mark.asyncio


@pytest.fixture
def emulator(at_60000: EmulatorProcess) -> EmulatorProcess:
    return at_60000


async def told(api: Api, count: int) -> list[tuple[object, ...]]:
    """Return the next `count` events about orders and lists: what happened, and to which."""
    found: list[tuple[object, ...]] = []
    while len(found) < count:
        event = (await api.event())["event"]
        if event["e"] == "executionReport":
            found.append((event["x"], event["X"], event["o"], event["g"]))
        elif event["e"] == "listStatus":
            found.append((event["l"], event["L"], event["c"], event["g"]))
    return found


async def test_subscriber_hears_of_a_pair_from_its_start_to_its_end(client: SignedClient, emulator: EmulatorProcess) -> None:
    async with api_of(emulator) as api:
        await api.subscribe(client)
        number = place(client, "oco", OCO)["orderListId"]
        assert await told(api, 3) == [
            ("NEW", "NEW", "STOP_LOSS", number),
            ("NEW", "NEW", "LIMIT_MAKER", number),
            ("EXEC_STARTED", "EXECUTING", "OCO", number),
        ]
        emulator.price("59000")
        assert await told(api, 4) == [
            ("EXPIRED", "EXPIRED", "LIMIT_MAKER", number),
            ("NEW", "NEW", "STOP_LOSS", number),
            ("TRADE", "FILLED", "STOP_LOSS", number),
            ("ALL_DONE", "ALL_DONE", "OCO", number),
        ]


async def test_subscriber_hears_when_a_pending_order_starts(client: SignedClient, emulator: EmulatorProcess) -> None:
    async with api_of(emulator) as api:
        await api.subscribe(client)
        number = place(client, "oto", OTO, listClientOrderId="mine")["orderListId"]
        assert await told(api, 2) == [("NEW", "NEW", "LIMIT", number), ("NEW", "PENDING_NEW", "STOP_LOSS", number)]
        status = (await api.event())["event"]
        while status["e"] != "listStatus":
            status = (await api.event())["event"]
        assert (status["C"], [each["s"] for each in status["O"]]) == ("mine", ["BTCUSDT", "BTCUSDT"])
        emulator.price("59499", quantity="1")
        assert await told(api, 2) == [("TRADE", "FILLED", "LIMIT", number), ("NEW", "NEW", "STOP_LOSS", number)]


async def test_trailing_stop_tells_its_delta_and_since_when_it_follows(client: SignedClient, emulator: EmulatorProcess) -> None:
    async with api_of(emulator) as api:
        await api.subscribe(client)
        order = client.order(symbol="BTCUSDT", side="SELL", type="STOP_LOSS", quantity="0.1", trailingDelta=100).document
        report = await api.report()
        assert (report["d"], report["D"], report["i"]) == (100, order["transactTime"], order["orderId"])
