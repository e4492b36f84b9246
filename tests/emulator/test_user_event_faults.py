import asyncio
import json

import pytest

from app.emulator.event_faults import EventFaults
from tests.emulator_process import EmulatorProcess


def deliver_all(faults: EventFaults[int], events: range, *, recipient: str = "account") -> list[int]:
    sent: list[int] = []
    for event in events:
        faults.deliver(recipient, event, sent.append)
    return sent


def made(seed: int = 1) -> EventFaults[int]:
    return EventFaults(f"{seed}:test")


def test_without_a_fault_every_user_event_is_sent_once_and_in_order() -> None:
    assert deliver_all(made(), range(5)) == [0, 1, 2, 3, 4]


def test_user_events_can_come_twice() -> None:
    faults = made()
    faults.start({"dup": 1.0})
    assert deliver_all(faults, range(3)) == [0, 0, 1, 1, 2, 2]


def test_user_events_can_be_left_out() -> None:
    faults = made()
    faults.start({"drop": 0.3})
    sent = deliver_all(faults, range(1000))
    assert 600 < len(sent) < 800
    assert sent == sorted(sent)


@pytest.mark.asyncio
async def test_user_events_can_be_swapped_and_the_last_one_still_comes() -> None:
    faults = made()
    faults.start({"reorder": 1.0})
    sent: asyncio.Queue[int] = asyncio.Queue()
    for event in range(5):
        faults.deliver("account", event, sent.put_nowait)
    assert [sent.get_nowait() for _ in range(4)] == [1, 0, 3, 2]
    async with asyncio.timeout(5):
        assert await sent.get() == 4


@pytest.mark.asyncio
async def test_events_of_two_accounts_are_not_swapped_with_each_other() -> None:
    faults = made()
    faults.start({"reorder": 1.0})
    assert deliver_all(faults, range(1), recipient="one") == []
    assert deliver_all(faults, range(2), recipient="other") == [1, 0]


@pytest.mark.asyncio
async def test_user_events_are_faithful_again_afterwards_and_what_was_held_is_not_lost() -> None:
    faults = made()
    faults.start({"reorder": 1.0})
    sent: list[int] = []
    faults.deliver("account", 1, sent.append)
    faults.stop()
    faults.deliver("account", 2, sent.append)
    assert sent == [1, 2]


def test_the_same_seed_breaks_the_same_user_events() -> None:
    def run(seed: int) -> list[int]:
        faults = made(seed)
        faults.start({"dup": 0.2, "drop": 0.2})
        return deliver_all(faults, range(200))

    assert run(7) == run(7)
    assert run(7) != run(8)


@pytest.mark.parametrize("mode", [[], ["explode"], ["drop:2"], ["drop:x"], "dup"])
def test_user_event_fault_without_a_known_mode_is_refused(standing_emulator: EmulatorProcess, mode: object) -> None:
    body = json.dumps({"do": "user_events", "mode": mode}).encode()
    assert standing_emulator.request("POST", "/_fault", body=body).status == 422


def test_user_event_fault_is_put_in_force_over_the_control_interface(standing_emulator: EmulatorProcess) -> None:
    standing_emulator.fault("user_events", mode=["dup", "reorder:0.5"], for_ms=60_000)
    standing_emulator.control("DELETE", "/_fault")
