import json
import shutil
from pathlib import Path

import pytest

from tests.ui import vendor


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for folder in vendor.GUARDED:
        shutil.copytree(vendor.STATIC / folder, tmp_path / folder)
    return tmp_path


def test_vendored_files_are_the_ones_that_were_taken() -> None:
    assert vendor.check(vendor.STATIC) == []
    assert vendor.stale_bundles(vendor.STATIC, vendor.TOOLS) == []


def test_changed_byte_is_reported(copy: Path) -> None:
    target = copy / "vendor/htmx.min.js"
    content = bytearray(target.read_bytes())
    content[1000] ^= 1
    target.write_bytes(content)
    assert vendor.check(copy) == ["vendor/htmx.min.js: changed"]


def test_unlisted_file_is_reported(copy: Path) -> None:
    (copy / "vendor/extra.js").write_text("alert(1)")
    assert vendor.check(copy) == ["vendor/extra.js: not in vendor.lock.json"]


def test_missing_file_is_reported(copy: Path) -> None:
    (copy / "fonts/inter-latin-wght-normal.woff2").unlink()
    assert vendor.check(copy) == ["fonts/inter-latin-wght-normal.woff2: missing"]


def test_manifest_that_was_edited_without_an_update_is_reported(copy: Path) -> None:
    manifest = copy / "vendor/vendor.toml"
    manifest.write_text(manifest.read_text().replace('version = "4.0.1"', 'version = "4.0.2"'))
    assert vendor.check(copy) == ["htmx.org: vendor.toml and vendor.lock.json differ; run update"]


def test_every_package_brings_its_licence() -> None:
    packages = json.loads((vendor.STATIC / "vendor/vendor.lock.json").read_text())["packages"]
    assert all(any("LICENSES/" in path for path in package["files"]) for package in packages.values())


def test_entry_that_was_edited_without_a_build_is_reported(tmp_path: Path) -> None:
    shutil.copytree(vendor.TOOLS / "editor", tmp_path / "editor", ignore=shutil.ignore_patterns("node_modules"))
    entry = tmp_path / "editor/entry.js"
    entry.write_text(entry.read_text().replace("indentWithTab", "indentMore"))
    assert vendor.stale_bundles(vendor.STATIC, tmp_path) == ["editor/entry.js: the bundle was not made from it; run update"]


def test_the_lock_of_npm_names_no_registry() -> None:
    packages = json.loads((vendor.TOOLS / "editor/package-lock.json").read_text())["packages"]
    assert [name for name, facts in packages.items() if "resolved" in facts] == []
    assert all(facts["integrity"] for name, facts in packages.items() if name)


@pytest.mark.skipif(not (vendor.TOOLS / "editor/node_modules").exists(), reason="needs the packages: npm ci in tools/editor")
def test_the_bundle_comes_out_the_same_when_it_is_built_again(tmp_path: Path) -> None:
    (package,) = [package for package in vendor.manifest(vendor.STATIC) if "bundle" in package]
    vendor.build(package, vendor.TOOLS, tmp_path / "again.mjs")
    assert (tmp_path / "again.mjs").read_bytes() == (vendor.STATIC / package["files"]["module"]).read_bytes()
