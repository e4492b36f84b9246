"""Frames on a stream socket: four bytes of length, then so many bytes."""

import struct
from typing import Final

HEADER: Final = struct.Struct(">I")
#: Longest body that a worker may send.
LONGEST_UP: Final = 65_536
#: Longest body that goes to a worker: a source of 131,072 characters, four bytes each at most, and its parameters.
LONGEST_DOWN: Final = 600_000


class ProtocolBroken(Exception):
    """The other side sent what it may not; the message says what."""


#: What reading bytes of somebody hostile raises. A decoder's own errors and texts that are not UTF-8 are ValueErrors; nesting without end
#: runs into Python's limit on recursion instead.
BROKEN: Final = (ProtocolBroken, ValueError, RecursionError)


def framed(body: bytes) -> bytes:
    """Return the body with its length before it."""
    return HEADER.pack(len(body)) + body


class FrameReader:
    """Takes bytes as they come and hands out whole bodies; a length above `longest` is an error at once, not after so many bytes."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._buffer = bytearray()

    @property
    def is_empty(self) -> bool:
        """Whether nothing has come since the last whole body."""
        return not self._buffer

    def take(self, data: bytes) -> list[bytes]:
        """Return the bodies that are whole now.

        Raises:
            ProtocolBroken: a body would be longer than allowed.
        """
        self._buffer += data
        bodies = []
        while len(self._buffer) >= HEADER.size:
            (length,) = HEADER.unpack_from(self._buffer)
            if length > self._longest:
                raise ProtocolBroken(f"a message of {length} bytes, at most {self._longest} are taken")
            end = HEADER.size + length
            if len(self._buffer) < end:
                break
            bodies.append(bytes(self._buffer[HEADER.size : end]))
            del self._buffer[:end]
        return bodies
