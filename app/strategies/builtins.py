"""The strategies that come with the platform, as text: they run where users' strategies run, and are copied to be changed."""

import ast
from dataclasses import dataclass
from functools import cache
from inspect import cleandoc
from pathlib import Path

_FOLDER = Path(__file__).with_name("builtin")
#: Name of the file, title, in the order in which they are offered.
_TITLES = (
    ("ema_cross", "EMA cross"),
    ("rsi_reversion", "RSI mean reversion"),
    ("bollinger_breakout", "Bollinger breakout"),
    ("donchian_trend", "Donchian trend with ATR stop"),
    ("macd_trend", "MACD with daily trend"),
    ("dca_safety_orders", "DCA with safety orders"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Builtin:
    """One strategy of the platform. `summary` is the first sentence of its docstring, `docstring` all of it."""

    name: str
    title: str
    source: str
    docstring: str

    @property
    def summary(self) -> str:
        """The first line of what it says of itself."""
        return self.docstring.partition("\n")[0]


@cache
def builtins() -> tuple[Builtin, ...]:
    """Return all of them; read once."""
    return tuple(_read(name, title) for name, title in _TITLES)


def builtin(name: str) -> Builtin | None:
    """Return the one of that name, or None."""
    return next((each for each in builtins() if each.name == name), None)


def _read(name: str, title: str) -> Builtin:
    source = (_FOLDER / f"{name}.py").read_text(encoding="utf-8")
    docstring = next((ast.get_docstring(node) or "" for node in ast.parse(source).body if isinstance(node, ast.ClassDef)), "")
    return Builtin(name=name, title=title, source=source, docstring=cleandoc(docstring))
