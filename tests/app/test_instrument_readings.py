"""The book of instruments while several read it anew at once."""

import asyncio
import threading
from typing import Any

import pytest

from app.marketdata import instruments
from tests.app.conftest import SYMBOL, Pieces

pytestmark = pytest.mark.asyncio


async def test_a_slow_reading_does_not_bring_an_older_list_back(pieces: Pieces, monkeypatch: pytest.MonkeyPatch) -> None:
    book: Any = pieces.desk.instruments
    await book.all("binance")
    make, is_slow, go_on = instruments._make_book, threading.Event(), threading.Event()

    def make_slowly(found: Any) -> Any:
        if not is_slow.is_set():
            is_slow.set()
            go_on.wait(5)
        return make(found)

    monkeypatch.setattr(instruments, "_make_book", make_slowly)
    async with asyncio.TaskGroup() as group:
        group.create_task(book.reload("binance"))
        await asyncio.to_thread(is_slow.wait, 5)
        await pieces.rows("UPDATE instruments SET is_active = false")
        later = group.create_task(book.reload("binance"))
        await asyncio.wait([later], timeout=0.5)
        go_on.set()
    found = book.cached("binance", SYMBOL)
    assert found is not None
    assert not found.is_active
