"""What a strategy prints, up to a limit."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOBase

from app.sandbox.messages import LONGEST_TEXT

_CUT = "\n… (cut)"


def clean(text: str) -> str:
    """Return text that can be sent: halves of characters, which Python lets stand in a string, become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


class CappedOutput(TextIOBase):
    """Text that keeps its first few thousand characters and forgets the rest, so that printing a lot costs nothing but time."""

    def __init__(self, longest: int = LONGEST_TEXT) -> None:
        self._parts: list[str] = []
        self._room = longest - len(_CUT)
        self._is_cut = False

    def writable(self) -> bool:
        """Return that it takes text."""
        return True

    def write(self, text: str, /) -> int:
        """Keep what there is room for."""
        if self._room > 0:
            self._parts.append(str(text[: self._room]))
        self._is_cut = self._is_cut or len(text) > self._room
        self._room = max(0, self._room - len(text))
        return len(text)

    def text(self) -> str:
        """Return what was kept."""
        return clean("".join(self._parts)) + (_CUT if self._is_cut else "")


@contextmanager
def captured() -> Iterator[CappedOutput]:
    """Take what is printed in the meantime."""
    output = CappedOutput()
    before = sys.stdout, sys.stderr
    sys.stdout = sys.stderr = output
    try:
        yield output
    finally:
        sys.stdout, sys.stderr = before
