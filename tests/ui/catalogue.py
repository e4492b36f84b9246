"""What there is to translate: every message marked in the templates and in the code, found as the extractor of `babel.cfg` finds it.

`python -m tests.ui.catalogue` brings the French catalogue up to date: new messages are added without a translation (a test lists them until
somebody writes one), messages nobody uses any more are dropped.
"""

import ast
import io
import re
from collections.abc import Container, Iterator
from functools import cache
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.pofile import read_po, write_po

from app import errors
from app.core.i18n import CATALOGUES

ROOT = Path(__file__).resolve().parents[2]
_PLACEHOLDER = re.compile(r"%\(\w+\)[sd]")
_SQL = re.compile(r"^(SELECT|UPDATE|INSERT|DELETE|WITH) |\b[A-Z]{2,} [A-Z$%]|'[a-z]+', '|\|")
#: Modules in which whatever has several words is read by people.
_ALL_SENTENCES = frozenset(
    f"app/{name}.py"
    for name in [
        "brokers/keys",
        "brokers/testing",
        "domain/guard",
        "domain/limits",
        "domain/protection",
        "domain/safeguard_words",
        "domain/symbols",
        "exchanges/binance_user_messages",
        "exchanges/errors",
        "sandbox/guest/checks/findings",
        "trading/apply",
        "trading/audit",
        "trading/gates",
        "trading/guardian",
        "trading/kill_switch",
        "trading/orphans",
        "trading/pairs",
        "trading/suspension",
        "trading/trips",
        "webhooks/inbox",
    ]
)
_NAMES_OF_SENTENCES = frozenset({"words", "told", "text", "detail", "sentence", "what", "what_else", "why", "bounds"})
KEYWORDS = {
    "_": None,
    "N_": None,
    "gettext": None,
    "ngettext": (1, 2),
    "pgettext": ((1, "c"), 2),
    "npgettext": ((1, "c"), 2, 3),
}


def messages() -> Iterator[tuple[str | tuple[str, ...], str | None, str]]:
    """Yield (message or (singular, plural), context or None, "file:line")."""
    with (ROOT / "babel.cfg").open() as source:
        methods, options = parse_mapping_cfg(source)  # type: ignore[no-untyped-call]  # Babel leaves this one untyped
    found = extract_from_dir(ROOT, methods, options, keywords=KEYWORDS)
    for filename, line, message, _comments, context in found:
        yield message, context, f"{filename}:{line}"
    for sentence, filename in sentences():
        # Codes and names of fields are words without a space.
        if " " in sentence and "\n" not in sentence and any(character.isalpha() for character in _PLACEHOLDER.sub("", sentence)):
            yield sentence, None, f"{filename}:0"


@cache
def sentences() -> tuple[tuple[str, str], ...]:
    """Return (message, file) of all that errors of this application say; finding them reads every module, which is done once."""
    return tuple(_sentences())


def _sentences() -> Iterator[tuple[str, str]]:
    """Yield what errors are raised with, and their docstrings.

    Values stand as `%(name)s`, named after what is put there. What only the administrator's terminal shows is left out.
    """
    kinds = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, errors.AppError)}
    del kinds["ConfigError"]
    for kind in kinds.values():
        yield (kind.__doc__ or "").strip(), f"{kind.__module__.replace('.', '/')}.py"
    for path in sorted((ROOT / "app").rglob("*.py")):
        if "emulator" in path.parts:
            continue
        tree, name = ast.parse(path.read_text()), str(path.relative_to(ROOT))
        for node in ast.walk(tree):
            for found in _said_by(node, kinds):
                for words in _words(found):
                    yield words, name
        if name in _ALL_SENTENCES:
            yield from ((words, name) for words in _sentences_in(tree))


def _said_by(node: ast.AST, kinds: Container[str]) -> Iterator[ast.expr]:
    """Yield the words of an error, of a denial in two parts, of a note to an order, and of a sentence that was given a name first."""
    if isinstance(node, ast.Call):
        if _name_of(node.func) in kinds or _name_of(node.func) in ("N_", "StrategyMistake"):
            yield from node.args
        yield from (keyword.value for keyword in node.keywords if keyword.arg in ("detail", "reason"))
    elif isinstance(node, ast.Tuple) and len(node.elts) == 2 and isinstance(node.elts[0], ast.Attribute):
        if _name_of(node.elts[0].value) == "DenialReason":
            yield node.elts[1]
    elif isinstance(node, ast.Assign) and all(_name_of(target) in _NAMES_OF_SENTENCES for target in node.targets):
        yield node.value


def _sentences_in(tree: ast.Module) -> Iterator[str]:
    """Yield every text of several words that is neither a docstring nor SQL."""
    scopes = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    skipped = {id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, scopes) and isinstance(node.body[0], ast.Expr)}
    skipped |= {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if id(node) not in skipped and isinstance(node, ast.Constant | ast.JoinedStr):
            for words in _words(node):
                if words.count(" ") >= 3 and words[0].isalpha() | words.startswith("%(") and not _SQL.search(words):
                    yield words


def _words(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield _template(node)
    elif isinstance(node, ast.IfExp):
        yield from _words(node.body)
        yield from _words(node.orelse)
    elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Dict):
        for value in node.value.values:
            yield from _words(value)
    elif isinstance(node, ast.BoolOp):
        for value in node.values:
            yield from _words(value)


def _template(node: ast.JoinedStr) -> str:
    names: dict[str, int] = {}
    pieces = []
    for part in node.values:
        if isinstance(part, ast.FormattedValue):
            name = _value_name(part.value)
            names[name] = names.get(name, 0) + 1
            pieces.append(f"%({name}{names[name] if names[name] > 1 else ''})s")
        elif isinstance(part, ast.Constant):
            pieces.append(str(part.value).replace("%", "%%"))
    return "".join(pieces)


def _value_name(node: ast.expr) -> str:
    while isinstance(node, ast.Call | ast.Subscript):
        node = (node.args[0] if node.args else node.func) if isinstance(node, ast.Call) else node.value
    return _name_of(node).strip("_").lower() or "value"


def _name_of(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def updated(catalogue: Catalog) -> Catalog:
    """Return `catalogue` with exactly today's messages, keeping the translations it has."""
    fresh = Catalog(locale=catalogue.locale, header_comment=catalogue.header_comment, fuzzy=False)
    for message, context, place in messages():
        known = catalogue.get(message, context)
        filename = place.rsplit(":", 1)[0]
        # Line numbers would change the file with every edit elsewhere.
        fresh.add(message, known.string if known else None, locations=[(filename, None)], context=context)  # type: ignore[list-item]
    return fresh


def written(catalogue: Catalog) -> str:
    """Return the catalogue as a file, without the headers that say when and by whom."""
    target = io.BytesIO()
    write_po(target, catalogue, width=140, sort_output=True, include_lineno=False)
    kept = ("Language:", "MIME-Version:", "Content-T", "Plural-Forms:")
    lines = target.getvalue().decode().splitlines()
    return "\n".join(line for line in lines if not (line.endswith('\\n"') and ": " in line and not line[1:].startswith(kept))) + "\n"


if __name__ == "__main__":
    path = CATALOGUES / "fr" / "LC_MESSAGES" / "messages.po"
    with path.open("rb") as source:
        french = read_po(source, locale="fr")
    path.write_text(written(updated(french)))
