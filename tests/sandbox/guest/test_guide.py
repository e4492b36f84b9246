"""The guide's examples are run as they stand, and its lists held against the code."""

import re
from pathlib import Path

import pytest

from app.domain.candles import Timeframe
from app.sandbox.guest import ta
from app.sandbox.guest.imports import ALLOWED
from app.sandbox.guest.strategy import METHODS, SIGNAL_COLUMNS
from app.sandbox.messages import Run
from tests.sandbox.guest.market import COSTS, described, found, guest_with, made_candles, resampled, sentence

GUIDE = (Path(__file__).resolve().parents[3] / "docs/strategies.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


@pytest.mark.parametrize("source", EXAMPLES, ids=lambda source: re.findall(r"class (\w+)", source)[0])
def test_an_example_runs_and_passes_every_check(source: str) -> None:
    candles = made_candles(4_000)
    guest = guest_with(candles, others={"1d": resampled(candles, "1h", "1d")})
    described(guest, source)

    assert getattr(guest.handle(Run(start=0, costs=COSTS)), "rows", 0) == 4_000
    for step in ("contract", "look_ahead", "warm_up", "values"):
        assert [sentence(each) for each in found(guest, step)] == []


def test_the_guide_has_an_example_of_each_spelling() -> None:
    assert len(EXAMPLES) == 5


@pytest.mark.parametrize("word", [*METHODS, *SIGNAL_COLUMNS, *ta.HELPERS, *Timeframe, *(name for name in ALLOWED if name[0] != "_")])
def test_the_guide_names_all_there_is(word: str) -> None:
    assert re.search(rf"\b{word}\b", GUIDE)
