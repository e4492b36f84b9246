"""Identity first: row ids and client order ids are made here, before anything is stored or sent."""

import hashlib
import os
import time
from uuid import UUID

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_CLIENT_ORDER_ID_LENGTH = 18


def new_id() -> UUID:
    """Return a UUIDv7: sortable by creation, unguessable in its last 74 bits. Source: RFC 9562 §5.7."""
    return _version_7(time.time_ns() // 1_000_000, int.from_bytes(os.urandom(10), "big"))


def id_of(name: str, *, milliseconds: int) -> UUID:
    """Return the one UUIDv7 of what has that name, at its place among all others in time: it can be stored once.

    Args:
        name: What tells it from everything else.
        milliseconds: Its moment, since 1970.
    """
    return _version_7(milliseconds, int.from_bytes(hashlib.blake2b(name.encode(), digest_size=10).digest(), "big"))


def oldest_id(*, milliseconds: int) -> UUID:
    """Return the smallest UUIDv7 of that moment, in milliseconds since 1970: every id made later is greater."""
    return _version_7(milliseconds, 0)


def _version_7(milliseconds: int, random: int) -> UUID:
    value = (milliseconds & 0xFFFFFFFFFFFF) << 80
    value |= 0x7 << 76 | (random >> 68 & 0xFFF) << 64
    value |= 0b10 << 62 | random & 0x3FFFFFFFFFFFFFFF
    return UUID(int=value)


def client_order_id(broker_id: UUID, key: str, *, leg: int, attempt: int) -> str:
    """Return the id under which an order is sent: the same signal always gives the same id.

    18 characters, letters and digits, never starting with t: the one form that every venue takes (reliability notes in
    docs/architecture.md). 85 bits of the digest are kept.
    """
    digest = hashlib.blake2b(f"{broker_id}|{key}|{leg}|{attempt}".encode(), digest_size=16).digest()
    number = int.from_bytes(digest, "big")
    letters = []
    for _ in range(_CLIENT_ORDER_ID_LENGTH - 1):
        number, remainder = divmod(number, 32)
        letters.append(_CROCKFORD[remainder])
    return "q" + "".join(letters)
