"""A jail whose workers have some layers of the lock only: the product has no switch for that."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from tempfile import mkdtemp

import pytest
from msgspec.structs import replace

from app.sandbox import supervisor
from app.sandbox.cell import Cell
from app.sandbox.jail import Jail
from app.sandbox.keeper import Keeper
from app.sandbox.orders import Layers, Order
from app.sandbox.terms import JailConfig


class LayeredKeeper(Keeper):
    """Gives workers these layers of the lock. What the doctor attacks stays locked in: its report decides whether anything may run."""

    def __init__(self, layers: Layers) -> None:
        super().__init__()
        self._layers = layers

    async def spawn(self, order: Order, descriptors: Sequence[int] = ()) -> Cell:
        """As the product, but for the layers."""
        return await super().spawn(order if order.is_probe else replace(order, layers=self._layers), descriptors)


@asynccontextmanager
async def a_jail(layers: Layers | None, folder: Path) -> AsyncIterator[Jail]:
    """Run a jail.

    Args:
        layers: Those of its workers. Sandboxd is then part of this process, so that the zygote is a child of who has the secrets. None
            leaves everything as the product has it.
        folder: For a socket.
    """

    async def forget(_: object) -> None:
        """Nobody reads the violations of these runs."""

    with pytest.MonkeyPatch.context() as patched:
        path: Path | None = None
        async with asyncio.TaskGroup() as tasks:
            running = []
            if layers is not None:
                path = Path(mkdtemp(dir=folder.parent, prefix="aristobot-sandboxd-")) / "sandboxd"
                patched.setattr(supervisor, "Keeper", partial(LayeredKeeper, layers))
                running.append(tasks.create_task(supervisor.serve_path(path)))
                while not path.exists():  # noqa: ASYNC110 -- it says nothing else when it listens
                    await asyncio.sleep(0.01)
            jail = Jail(JailConfig(socket_path=path), on_violation=forget)
            running.append(tasks.create_task(jail.run(lambda: None)))
            await jail.ready()
            yield jail
            for task in reversed(running):
                task.cancel()
                await asyncio.wait([task])
    if path is not None:
        path.unlink(missing_ok=True)
        path.parent.rmdir()
