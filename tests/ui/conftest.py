from pathlib import Path

import pytest

from app.ui.assets import Assets
from app.ui.templating import Templating
from tests.ui import sample_views

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def assets() -> Assets:
    return Assets(ROOT / "static")


@pytest.fixture(scope="session")
def templating(assets: Assets) -> Templating:
    return Templating(ROOT / "templates", ROOT / "static", assets=assets, now=lambda: sample_views.NOW)
