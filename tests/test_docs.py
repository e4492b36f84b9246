"""What the documentation says, held against the code."""

import inspect
import re
from pathlib import Path

from app import errors
from app.core.config import Settings

ROOT = Path(__file__).resolve().parent.parent


def test_every_error_code_stands_in_the_documentation() -> None:
    documented = set(re.findall(r"^\| ([A-Z_]+) \|", (ROOT / "docs/errors.md").read_text(), re.MULTILINE))
    classes = {kind.default_code for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.AppError)}
    reasons = {reason.value for reason in errors.DenialReason}
    written = {code for path in (ROOT / "app").rglob("*.py") for code in re.findall(r'code="([A-Z_]+)"', path.read_text())}
    assert classes | reasons | written <= documented


def test_the_settings_example_names_every_setting_and_nothing_else() -> None:
    listed = set(re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert listed == {name.upper() for name in Settings.model_fields}


def test_the_settings_example_shows_the_defaults(tmp_path: Path) -> None:
    given = Settings(_env_file=ROOT / ".env.example")
    assert given == Settings(_env_file=tmp_path / "none")


def test_the_readme_shows_its_two_commands_each_alone_on_its_line() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert "pip install uv && uv run aristobot demo" in lines
    assert "pip install uv && uv run pytest" in lines


def test_nothing_in_the_project_is_a_link_to_a_page_that_is_not_there() -> None:
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
