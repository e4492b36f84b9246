"""Waiting for something that may never come."""

import asyncio


async def happens_within(event: asyncio.Event, timeout_s: float) -> bool:
    """Wait for an event, at most so many seconds; return whether it is set."""
    try:
        await asyncio.wait_for(event.wait(), timeout_s)
    except TimeoutError:
        return event.is_set()
    return True
