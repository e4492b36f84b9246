"""What every start of a server repeats and what comes out the same each time, done once for all that are forked afterwards.

Templates are compiled once for all runs, as modules are.
"""

import hashlib
from functools import cache, partial
from pathlib import Path
from typing import Final

import jinja2
from sqlalchemy.orm import configure_mappers

from app.core.i18n import load_catalogues
from app.ui import templating
from tests.environment import OURS


def _fingerprint() -> str:
    """A name for what else than its source decides how a template is compiled: options, and filters that are applied to constants."""
    found = hashlib.sha256(jinja2.__version__.encode())
    for path in sorted(Path(templating.__file__).parent.glob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


_FOLDER: Final = OURS / "templates" / _fingerprint()


@cache
def once() -> None:
    """Read the catalogues, let the tables know each other, and have pages come from templates that are compiled already."""
    load_catalogues()
    configure_mappers()
    _FOLDER.mkdir(parents=True, exist_ok=True)
    kept = jinja2.FileSystemBytecodeCache(str(_FOLDER))
    vars(templating)["Environment"] = partial(jinja2.Environment, bytecode_cache=kept)


once()
