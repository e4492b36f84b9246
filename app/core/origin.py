"""From where the present request comes, for what is written down about it, without passing it through every call."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

_LONGEST: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """An address and what the client calls itself; None where there is no request."""

    ip_address: str | None = None
    user_agent: str | None = None


_NOWHERE: Final = Origin()
_ORIGIN: Final[ContextVar[Origin]] = ContextVar("origin", default=_NOWHERE)


@contextmanager
def coming_from(origin: Origin) -> Iterator[None]:
    """Let what is done inside the block come from there."""
    agent = "".join(sign for sign in origin.user_agent or "" if sign.isprintable())[:_LONGEST]
    token = _ORIGIN.set(Origin(ip_address=origin.ip_address, user_agent=agent or None))
    try:
        yield
    finally:
        _ORIGIN.reset(token)


def present_origin() -> Origin:
    """Return from where the present work was asked for."""
    return _ORIGIN.get()
