"""Reads the recorded candles, captures and replies; tests that need them are skipped where they are absent."""

import csv
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.shared_data import shared_data


def shared_file(name: str) -> Path:
    """Return the path of a file of the set, or skip the test."""
    path = shared_data() / name
    if not path.exists():
        pytest.skip(f"{name} is not among the recorded market data")
    return path


def captured_frames(name: str) -> Iterator[str]:
    """Yield the received websocket frames of a capture."""
    with gzip.open(shared_file(f"ws/{name}"), "rt") as file:
        for line in file:
            entry = json.loads(line)
            if entry["t"] == "recv":
                yield entry["data"]


def candle_rows(name: str, *, limit: int | None = None) -> list[tuple[int, float, float, float, float, float]]:
    """Return (open time in milliseconds, o, h, l, c, v) of a candle file."""
    with gzip.open(shared_file(f"candles/{name}"), "rt") as file:
        reader = csv.reader(file)
        next(reader)
        rows = []
        for row in reader:
            rows.append((int(row[0]), *(float(value) for value in row[1:6])))
            if limit is not None and len(rows) == limit:
                break
        return rows  # type: ignore[return-value]  # the five values are counted above


def recorded_replies(name: str) -> dict[str, Any]:
    """Return the recorded REST replies of a bundle by fixture name: the JSON after the head lines."""
    replies = {}
    with shared_file(f"rest/{name}").open() as file:
        for line in file:
            entry = json.loads(line)
            text = entry["text"]
            start = min((position for sign in "{[" if (position := text.find(sign)) >= 0), default=-1)
            if start >= 0:
                try:
                    replies[entry["name"]] = json.loads(text[start:])
                except json.JSONDecodeError:
                    continue
    return replies
