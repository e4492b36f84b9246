"""The icon sprite: every vendored Lucide icon as one `<symbol>`, inlined once per page and drawn with `<use href="#i-name">`."""

import re
from pathlib import Path

from markupsafe import Markup

_BODY = re.compile(r"<svg\b[^>]*>(?P<shapes>.*?)</svg>", re.DOTALL)
#: Our own mark, on the same 24-unit grid.
_BRAND = '<rect x="1.5" y="1.5" width="21" height="21" rx="6"/><path d="m6 15 3.75-4.5 3 3L18 8.25"/>'


def icon_names(folder: Path) -> frozenset[str]:
    """Return the names a template may draw."""
    return frozenset({"brand", *(path.stem for path in folder.glob("*.svg"))})


def build_sprite(folder: Path) -> Markup:
    """Return the sprite of all icons in `folder`.

    Raises:
        ValueError: a file is not an svg picture.
    """
    symbols = [_symbol("brand", _BRAND)]
    for path in sorted(folder.glob("*.svg")):
        found = _BODY.search(path.read_text(encoding="utf-8"))
        if found is None:
            raise ValueError(f"{path.name} is not an svg picture")
        symbols.append(_symbol(path.stem, " ".join(found["shapes"].split())))
    # The shapes are vendored files under checksum, not input.
    return Markup(f'<svg class="sprite" aria-hidden="true" width="0" height="0">{"".join(symbols)}</svg>')  # noqa: S704


def _symbol(name: str, shapes: str) -> str:
    return f'<symbol id="i-{name}" viewBox="0 0 24 24">{shapes}</symbol>'
