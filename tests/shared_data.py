"""Finds the recorded market data that lies beside the repository; tests that need it are skipped where it is not."""

import os
from pathlib import Path

import pytest

VARIABLE = "ARISTOBOT_SHARED_DATA"


def shared_data() -> Path:
    """Return the folder of recorded data, or skip the calling test."""
    given = os.environ.get(VARIABLE)
    folder = Path(given) if given else Path(__file__).resolve().parents[1].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no recorded market data at {folder}; set {VARIABLE} to use it")
    return folder
