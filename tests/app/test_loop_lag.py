import asyncio
import time

import pytest
from structlog.testing import capture_logs

from app.core.loop_lag import LoopLag
from tests.fault_matrix import row


class _Enough(Exception):
    """Ends a loop that runs for ever."""


def _stop() -> None:
    raise _Enough


@row(24)
@pytest.mark.asyncio
async def test_work_that_blocks_the_event_loop_is_measured_and_warned_of() -> None:
    lag = LoopLag()

    async def block() -> None:
        await asyncio.sleep(0.01)
        time.sleep(0.5)  # noqa: ASYNC251  # the fault

    with capture_logs() as lines, pytest.raises(_Enough):
        await asyncio.gather(lag.run(_stop), block())

    assert 300 <= lag.max_ms < 2_000
    assert [line["event"] for line in lines] == ["event_loop_blocked"]


@pytest.mark.asyncio
async def test_an_idle_event_loop_is_on_time() -> None:
    lag = LoopLag()

    with capture_logs() as lines, pytest.raises(_Enough):
        await lag.run(_stop)

    assert lag.last_ms < 250
    assert lines == []
