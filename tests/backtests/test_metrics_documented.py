"""docs/metrics.md, held against the code: a figure that nobody explains is worth nothing."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from app.backtests.quality_words import CODES
from app.backtests.report_parts import Costs
from app.domain.metrics import EquityFigures
from app.domain.metrics_trades import Excursions, ReasonFigures, TradeFigures

PAGE = (Path(__file__).resolve().parents[2] / "docs/metrics.md").read_text()


@pytest.mark.parametrize("kind", [EquityFigures, TradeFigures, ReasonFigures])
def test_every_figure_has_its_formula_on_the_page(kind: type) -> None:
    named = set(re.findall(r"`([a-z_]+)(?:\.[a-z_]+)?`", PAGE))
    assert {field.name for field in fields(kind)} - {"reason"} <= named


def test_every_excursion_and_cost_is_on_the_page() -> None:
    assert {f"excursions.{field.name}" for field in fields(Excursions)} <= set(re.findall(r"`(excursions\.[a-z_]+)`", PAGE))
    assert all(f"`{name}`" in PAGE for name in Costs.__struct_fields__)


def test_every_check_has_its_bounds_on_the_page() -> None:
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", PAGE, re.MULTILINE)) == set(CODES)
