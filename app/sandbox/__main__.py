"""Start sandboxd: `python -m app.sandbox --socket PATH` in a container of its own; the server starts it as its child by `--fd`.

As the server's child it is a script under `python -I -S -B`, isolated from everything that the server's environment could say.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any


def main() -> None:
    """Serve until the server goes away (`--fd`) or a signal comes (`--socket`)."""
    parser = argparse.ArgumentParser(prog="python -m app.sandbox", description="Runs strategies, locked in, for an Aristobot server.")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--socket", type=Path, metavar="PATH", help="listen on this Unix socket")
    where.add_argument("--fd", type=int, help="talk over this inherited descriptor")
    parser.add_argument("--path", action="append", default=[], help="a folder to import from; may be given several times")
    given = parser.parse_args()
    sys.path += [folder for folder in given.path if folder not in sys.path]

    # Not before: an isolated interpreter finds them only on the path that was given.
    import structlog  # noqa: PLC0415  # as said

    from app.sandbox import supervisor  # noqa: PLC0415  # as said
    from app.sandbox.lock import kernel  # noqa: PLC0415  # as said

    # What a child has to say of itself its server says better; in a container of its own this is all the log there is.
    least = logging.INFO if given.fd is None else logging.WARNING
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(least),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.KeyValueRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # each worker takes two
    with contextlib.suppress(KeyboardInterrupt):
        if given.fd is not None:
            kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() == 1:
                return
            asyncio.run(supervisor.serve_one(socket.socket(fileno=given.fd)))
        else:
            asyncio.run(until_terminated(supervisor.serve_path(given.socket)))


async def until_terminated(serving: Coroutine[Any, Any, None]) -> None:
    """Serve until SIGTERM, which the first process of a container would not even notice without a handler."""
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(serving)
        loop.add_signal_handler(signal.SIGTERM, task.cancel)


if __name__ == "__main__":
    main()
