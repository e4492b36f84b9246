"""Waiting for something that may never come."""

import asyncio


async def happens_within(event: asyncio.Event, timeout_s: float) -> bool:
    """Wait for an event, at most so many seconds; return whether it is set."""
    try:
        # Not `wait_for`: before Python 3.12 it loses a cancellation that comes together with an event.
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return event.is_set()
    return True
