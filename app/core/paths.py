"""Where the files are that travel with the code but are not code: templates, static files, migrations."""

from pathlib import Path

import app

_PACKAGE = Path(app.__path__[0]).resolve()


def resource(name: str) -> Path:
    """Return the folder `name`: `app/_bundle/<name>` in an installed wheel, the repository's top-level folder in a checkout.

    Raises:
        FileNotFoundError: neither exists.
    """
    # The bundle comes first: beside an installed wheel lies site-packages, where another package may have left a folder `static`.
    for folder in (_PACKAGE / "_bundle" / name, _PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"the folder {name!r} is neither in {_PACKAGE / '_bundle'} nor in {_PACKAGE.parent}")
