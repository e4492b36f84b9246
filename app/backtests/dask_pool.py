"""Computes on the workers of a Dask cluster instead of this machine's processes (`DASK_SCHEDULER`).

The workers need this very version of the application installed. Candles and decisions are sent to them, as they share no memory with this
machine; strategies themselves decide here, in the jail, wherever the rest is computed.
"""

import asyncio
import importlib
import importlib.util
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

import structlog

from app.errors import ConfigError, WorkerLost

log = structlog.get_logger(__name__)

T = TypeVar("T")

_CONNECT_S: Final = 10.0


class DaskPool:
    """A `Computing` on a cluster. Close it last.

    Args:
        address: Of the scheduler, such as `tcp://10.0.0.5:8786`.

    Raises:
        ConfigError: Dask is not installed.
    """

    is_here = False

    def __init__(self, address: str) -> None:
        if importlib.util.find_spec("distributed") is None:
            raise ConfigError("DASK_SCHEDULER is set, but Dask is not installed: pip install 'aristobot[dask]'")
        self._address = address
        self._turn = asyncio.Lock()
        self._client: Any = None
        self._lost: type[Exception] = Exception

    @property
    def pids(self) -> list[int]:
        """None of this machine."""
        return []

    async def run(self, task: Callable[..., T], *arguments: object) -> T:
        """As `Computing.run`. When the caller is cancelled the task is taken back.

        Raises:
            WorkerLost: the cluster cannot be reached, or its workers died of the task.
        """
        client = await self._connected()
        future = client.submit(task, *arguments, pure=False)
        try:
            result: T = await future
        except asyncio.CancelledError:
            with suppress(Exception):  # it is of no use to anybody any more, whether that is heard or not
                await future.cancel(force=True)
            raise
        except self._lost as error:
            raise WorkerLost from error
        return result

    async def rest(self) -> None:
        """Nothing of this machine is held."""

    async def close(self) -> None:
        """Leave the cluster."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _connected(self) -> Any:
        async with self._turn:
            if self._client is None or self._client.status in ("closed", "closing"):
                # It takes a second to import, and longer where byte-code is not kept.
                distributed = await asyncio.to_thread(importlib.import_module, "distributed")
                scheduler = await asyncio.to_thread(importlib.import_module, "distributed.scheduler")
                self._lost = scheduler.KilledWorker
                client = distributed.Client(self._address, asynchronous=True, timeout=_CONNECT_S, set_as_default=False)
                try:
                    self._client = await client
                except (OSError, TimeoutError, ValueError) as error:  # the last: it is no address
                    await client.close()
                    log.warning("dask_not_reached", address=self._address, reason=str(error))
                    raise WorkerLost(f"The Dask scheduler at {self._address} cannot be reached.") from error
            return self._client
