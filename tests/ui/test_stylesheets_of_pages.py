"""A page links the stylesheets that say something of what is in it: a rule that stayed behind in another page's file is found here."""

import re
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from app.ui.templating import Templating
from tests.ui import sample_views

CSS: Final = Path(__file__).resolve().parents[2] / "static" / "css"
_CLASS: Final = re.compile(r"\.([a-z][\w-]*)(?=[^{};]*\{)")


@cache
def classes_of(name: str) -> frozenset[str]:
    """The classes that a stylesheet has rules for."""
    text = re.sub(r"/\*.*?\*/", "", (CSS / name).read_text(), flags=re.DOTALL)
    return frozenset(_CLASS.findall(text))


@pytest.mark.parametrize("name", sorted(sample_views.pages()))
def test_every_class_with_rules_somewhere_has_them_in_its_page(name: str, templating: Templating) -> None:
    template, view = sample_views.pages()[name]
    html = templating.page(template, view)
    linked = set(re.findall(r"/css/([\w-]+\.css)", html))
    used = {word for classes in re.findall(r'\sclass="([^"]*)"', html) for word in classes.split()}
    here = frozenset[str]().union(*(classes_of(css) for css in linked))
    elsewhere = {css.name: classes_of(css.name) for css in CSS.glob("*.css") if css.name not in linked}
    missed = {css: sorted((used & classes) - here) for css, classes in elsewhere.items() if (used & classes) - here}
    assert missed == {}, f"{template} uses what only these say something of"
