import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from app.ui.icons import icon_names
from app.ui.templating import Templating
from tests.ui import sample_views

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
FRAGMENTS = sorted((ROOT / "templates" / "fragments").rglob("*.html"))
LONGEST_FRAGMENT = 60
VOID = frozenset({"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"})

FORBIDDEN = {
    "an event attribute": r"""\son[a-z]+\s*=""",
    "a style attribute": r"""\sstyle\s*=""",
    "a style element": r"""<style\b""",
    "an inline script": r"""<script(?![^>]*\bsrc=)(?![^>]*type="application/json")""",
    "hx-on": r"""\bhx-on\b""",
    "hx-live": r"""\bhx-live\b""",
    "a js: value": r"""["'\s]js:""",
    "a trigger filter": r"""hx-trigger\s*=\s*["'][^"']*\[""",
    "a javascript: address": r"""javascript:""",
    "the safe filter": r"""\|\s*safe\b""",
    "autoescape switched off": r"""\{%-?\s*autoescape\s+false""",
    "htmx 2's attribute": r"""\b(?:hx-ext|hx-disabled-elt|sse-connect|sse-swap|hx-boost)\b""",
}


def violations(source: str) -> list[str]:
    return [what for what, pattern in FORBIDDEN.items() if re.search(pattern, source, re.IGNORECASE)]


class Roots(HTMLParser):
    """Collects the elements that have no parent, and ids."""

    def __init__(self) -> None:
        super().__init__()
        self.depth = 0
        self.roots: list[dict[str, str | None]] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if self.depth == 0:
            self.roots.append(found)
        if found.get("id"):
            self.ids.append(str(found["id"]))
        if tag not in VOID:
            self.depth += 1

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            self.depth -= 1


def parsed(html: str) -> Roots:
    parser = Roots()
    parser.feed(html)
    parser.close()
    return parser


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_template_holds_nothing_the_content_security_policy_refuses(path: Path) -> None:
    assert violations(path.read_text()) == []


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ('<a onclick="x()">', "an event attribute"),
        ('<p style="color:red">', "a style attribute"),
        ("<style>p{}</style>", "a style element"),
        ("<script>x()</script>", "an inline script"),
        ('<b hx-on:click="x()">', "hx-on"),
        ("<b hx-vals='js:{a:1}'>", "a js: value"),
        ('<b hx-trigger="click[ctrlKey]">', "a trigger filter"),
        ('<a href="javascript:x()">', "a javascript: address"),
        ("{{ name|safe }}", "the safe filter"),
    ],
)
def test_lint_finds_what_it_is_for(source: str, what: str) -> None:
    assert what in violations(source)


@pytest.mark.parametrize("path", FRAGMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_fragment_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST_FRAGMENT


def test_every_fragment_has_an_example() -> None:
    assert {path.relative_to(ROOT / "templates").as_posix() for path in FRAGMENTS} == set(sample_views.fragments())


@pytest.mark.parametrize("template", sorted(sample_views.fragments()))
def test_fragment_has_one_root_element_with_an_id(template: str, templating: Templating) -> None:
    html = templating.fragment(template, sample_views.fragments()[template], reader=sample_views.shell().reader)
    found = parsed(html)
    assert found.depth == 0
    assert len(found.roots) == 1
    assert found.roots[0].get("id")


@pytest.mark.parametrize("name", sorted(sample_views.pages()))
def test_page_never_uses_an_id_twice(name: str, templating: Templating) -> None:
    template, view = sample_views.pages()[name]
    ids = parsed(templating.page(template, view)).ids
    assert sorted(ids) == sorted(set(ids))


def test_templates_draw_exactly_the_vendored_icons() -> None:
    sources = "\n".join(path.read_text() for path in TEMPLATES) + (ROOT / "app/ui/views/shell.py").read_text()
    drawn = set(re.findall(r"""icon\("([a-z0-9-]+)\"""", sources)) | set(re.findall(r"""icon="([a-z0-9-]+)\"""", sources))
    names = icon_names(ROOT / "static/vendor/lucide")
    assert drawn <= names
    passed = {name for name in names if f'"{name}"' in sources}
    assert names == passed
