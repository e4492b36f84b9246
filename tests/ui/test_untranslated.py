"""No words that people read stand in a template or in a page's code outside the catalogue."""

import ast
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from jinja2 import Environment, nodes

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
#: Browsers and systems have the same name everywhere: `devices.py` holds nothing else.
CODE = sorted(set((ROOT / "app/ui").rglob("*.py")) - {ROOT / "app/ui/devices.py"})
#: Names, units and signs that are the same in every language; the names of languages are in their own.
NAMES = {
    "Aristobot", "API", "BTC/USDT", "CSRF", "EN", "English", "FR", "Français", "Ollama", "OpenRouter", "TradingView", "USDT", "UTC", "ms",
    "Lightweight Charts", "HTTP", "JSON", "POST", "curl", "openapi.json", "Vary", "Sharpe", "Sortino", "Calmar", "CAGR", "SQN", "Parquet",
    "Telegram", "Discord", "Slack", "Pushover", "Gotify", "ntfy",
}  # fmt: skip
SPOKEN = ("title", "aria-label", "aria-description", "aria-roledescription", "placeholder", "alt", "label")
TRANSLATES = {"_", "N_", "gettext", "ngettext", "pgettext", "npgettext"}
TRANS = re.compile(r"{%-?\s*trans\b.*?{%-?\s*endtrans\s*-?%}", re.DOTALL)
JINJA = re.compile(r"{#.*?#}|{{.*?}}|{%.*?%}", re.DOTALL)
LETTERS = re.compile(r"[^\W\d_]{2,}")


def is_said(text: str) -> bool:
    """Whether there are words in it beside names."""
    for name in sorted(NAMES, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", " ", text)
    return LETTERS.search(text) is not None


def is_sentence(text: str) -> bool:
    """Whether a string inside an expression is meant for people: it begins as a sentence or a label does, or ends as one."""
    begins = re.match(r"[A-ZÀ-Ý][a-zà-ÿ’']+(?![\w-]|\.\w)", text) is not None
    ends = " " in text and re.search(r"[a-zà-ÿ][.!?…:]$", text) is not None
    return (begins or ends) and is_said(text)


class Spoken(HTMLParser):
    """Collects what is read: text, and attributes that are spoken."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._silent += tag in ("script", "style", "code", "pre")
        self.found += [value for name, value in attrs if value and name in SPOKEN]

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in ("script", "style", "code", "pre")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            # A macro may hold attributes alone.
            self.found.append(re.sub(r"""\baria-(describedby|invalid)="[^"]*\"""", "", data).strip())


def in_markup(source: str) -> list[str]:
    parser = Spoken()
    parser.feed(JINJA.sub("", TRANS.sub("", source)))
    parser.close()
    return [text for text in parser.found if is_said(text)]


def in_expressions(source: str) -> list[str]:
    """Strings inside Jinja's expressions that no translation is asked for."""

    def walk(node: nodes.Node) -> Iterator[str]:
        if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name in TRANSLATES:
            return
        if isinstance(node, nodes.Const) and isinstance(node.value, str) and is_sentence(node.value):
            yield node.value
        for child in node.iter_child_nodes():
            yield from walk(child)

    return list(walk(Environment(extensions=["jinja2.ext.i18n"], autoescape=True).parse(source)))


def in_code(source: str) -> list[str]:
    """Strings of a module that no translation is asked for, without docstrings and what only programmers read."""

    def walk(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if name in TRANSLATES or name in ("TypeVar", "field", "ValueError", "KeyError"):
                return
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and is_sentence(node.value):
            yield node.value
        unsaid = (getattr(node, "annotation", None), getattr(node, "returns", None))
        for child in ast.iter_child_nodes(node):
            is_docstring = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
            is_export = isinstance(child, ast.Assign) and ast.unparse(child.targets[0]) == "__all__"
            if child not in unsaid and not is_docstring and not is_export:
                yield from walk(child)

    return list(walk(ast.parse(source)))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_template_says_nothing_that_the_catalogue_does_not_know(path: Path) -> None:
    source = path.read_text()
    assert in_markup(source) + in_expressions(source) == []


@pytest.mark.parametrize("path", CODE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_page_code_says_nothing_that_the_catalogue_does_not_know(path: Path) -> None:
    assert in_code(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "<p>Hello</p>",
        "<p>{{ x }} orders</p>",
        '<a title="Go on">{{ x }}</a>',
        '<input placeholder="Your name">',
        '<b aria-label="Close {{ x }}"></b>',
        '<img alt="A chart">',
        '{{ pill("ok", "On") }}',
        '{% set words = {"a": "Connected"} %}',
        '{{ "Not saved." if x }}',
        '{{ icon("x") }} Fermer',
        '<optgroup label="Others"></optgroup>',
    ],
)
def test_words_in_a_template_are_found(source: str) -> None:
    assert in_markup(source) + in_expressions(source) != []


@pytest.mark.parametrize(
    "source",
    [
        "<p>{{ _('Hello') }} · 3</p>",
        "<h1>Aristobot</h1>",
        "<b>BTC/USDT</b>",
        "{% trans n=x %}{{ n }} order{% pluralize %}{{ n }} orders{% endtrans %}",
        '{{ icon("triangle-alert", "only-d") }}<code>UNPROTECTED</code>',
        '<b class="btn danger" title="{{ _("Go on") }}" hx-target="#x"></b>',
        "{{ pgettext('candle', 'O') }}{{ ngettext('One', 'Many', 2) }}",
        "{# A comment says what it likes. #}",
    ],
)
def test_what_is_translated_or_a_name_is_left_alone(source: str) -> None:
    assert in_markup(source) + in_expressions(source) == []


@pytest.mark.parametrize(
    ("source", "is_found"),
    [
        ("toast = 'The key is forgotten.'", True),
        ("label = 'Dark'", True),
        ("x = f'There are {n} orders.'", True),
        ("'''A docstring.'''", False),
        ("x = gettext('The key is forgotten.')", False),
        ("x = N_('Dashboard')", False),
        ("headers = {'Cache-Control': 'no-store'}", False),
        ("path = 'fragments/accounts/_ai.html'", False),
    ],
)
def test_words_in_code_are_found(source: str, is_found: bool) -> None:  # noqa: FBT001  # a column of the table above
    assert bool(in_code(source)) is is_found
