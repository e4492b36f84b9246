"""Columns of numbers in a few bytes, exactly: what a result keeps of its trades, fills and equity."""

import zlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from app.domain.arrays import Floats, Times
from app.domain.outcome import FillColumns, Outcome, TradeColumns

Column = NDArray[Any]

#: The fastest: what is gained beyond it is a tenth.
_LEVEL: Final = 1
_LENGTH: Final = 4
_KINDS: Final = frozenset({"<i8", "<f8", "|i1"})


class _Header(msgspec.Struct, array_like=True):
    rows: int
    columns: list[tuple[str, str]]


def packed(columns: Mapping[str, Column]) -> bytes:
    """Return columns of one length; `unpacked` gives them back bit for bit."""
    rows = len(next(iter(columns.values())))
    kinds = [(name, column.dtype.newbyteorder("<").str) for name, column in columns.items()]
    header = msgspec.msgpack.encode(_Header(rows, kinds))
    # The bytes of one weight together: neighbours have the same sign, exponent and first digits.
    parts = [
        np.ascontiguousarray(column, dtype=kind).view(np.uint8).reshape(rows, column.itemsize).T.tobytes()
        for column, (_, kind) in zip(columns.values(), kinds, strict=True)
    ]
    return len(header).to_bytes(_LENGTH, "little") + header + zlib.compress(b"".join(parts), _LEVEL)


def unpacked(data: bytes) -> dict[str, Column]:
    """Return the columns that `packed` was given.

    Raises:
        ValueError: these are no packed columns.
    """
    end = _LENGTH + int.from_bytes(data[:_LENGTH], "little")
    header = msgspec.msgpack.decode(data[_LENGTH:end], type=_Header)
    body, found, place = zlib.decompress(data[end:]), {}, 0
    for name, kind in header.columns:
        if kind not in _KINDS:
            raise ValueError(f"a packed column must be of one of {sorted(_KINDS)}, was {kind}")
        size = np.dtype(kind).itemsize
        raw = np.frombuffer(body, np.uint8, header.rows * size, place).reshape(size, header.rows)
        found[name] = np.ascontiguousarray(raw.T).reshape(-1).view(kind)
        place += header.rows * size
    return found


def packed_trades(trades: TradeColumns) -> bytes:
    """Return round trips; their candles are rows of the equity."""
    return packed({name: getattr(trades, name) for name in TradeColumns.__dataclass_fields__})


def packed_fills(fills: FillColumns) -> bytes:
    """Return executions."""
    return packed({name: getattr(fills, name) for name in FillColumns.__dataclass_fields__})


def packed_equity(time: Times, equity: Floats) -> bytes:
    """Return the account at the close of each candle, with the candles' open times in ms UTC."""
    return packed({"step": np.diff(time, prepend=0), "equity": equity})


def unpacked_trades(data: bytes) -> TradeColumns:
    """Return round trips as `packed_trades` was given them."""
    return TradeColumns(**unpacked(data))


def unpacked_fills(data: bytes) -> FillColumns:
    """Return executions as `packed_fills` was given them."""
    return FillColumns(**unpacked(data))


def unpacked_equity(data: bytes) -> tuple[Times, Floats]:
    """Return open times in ms UTC and the equity."""
    columns = unpacked(data)
    return np.cumsum(columns["step"]), columns["equity"]


def packed_outcome(outcome: Outcome, time: Times) -> tuple[bytes, bytes, bytes]:
    """Return trades, fills and equity of a simulation."""
    return packed_trades(outcome.trades), packed_fills(outcome.fills), packed_equity(time, outcome.equity)
