from pathlib import Path

import pytest

from app.core import paths


def test_checkout_gives_the_folders_of_the_repository() -> None:
    assert (paths.resource("migrations") / "env.py").is_file()
    assert paths.resource("static").parent == Path(paths.__file__).parents[2]


def test_installed_wheel_gives_its_own_folders_whatever_lies_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages" / "app"
    (package / "_bundle" / "static").mkdir(parents=True)
    (package.parent / "static").mkdir()
    monkeypatch.setattr(paths, "_PACKAGE", package)
    assert paths.resource("static") == package / "_bundle" / "static"
    with pytest.raises(FileNotFoundError, match="templates"):
        paths.resource("templates")
