"""Vendored front-end files: copy them from their packages, and prove later, offline, that nobody changed a byte.

`python -m tests.ui.vendor update` packs each package named by `static/vendor/vendor.toml` with the npm client, copies the listed files and
writes `vendor.lock.json`; it refuses a package whose content changed under the same version. `python -m tests.ui.vendor check` compares
what lies under `static/vendor` and `static/fonts` with the lock, and reports mismatches, missing files and files nobody listed.
"""

import base64
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path
from typing import Any

STATIC = Path(__file__).resolve().parents[2] / "static"
GUARDED = ("vendor", "fonts")
OWN_FILES = frozenset({"vendor/vendor.toml", "vendor/vendor.lock.json"})


def describe(content: bytes) -> dict[str, Any]:
    """Return what the lock records about one file."""
    sri = base64.b64encode(hashlib.sha384(content).digest()).decode()
    return {"sha256": hashlib.sha256(content).hexdigest(), "sri": f"sha384-{sri}", "size": len(content)}


def check(static: Path) -> list[str]:
    """Return one sentence for each difference between the lock and the files under `static`."""
    lock = json.loads((static / "vendor/vendor.lock.json").read_text())
    wanted = {path: facts for package in lock["packages"].values() for path, facts in package["files"].items()}
    present = {
        path.relative_to(static).as_posix() for folder in GUARDED for path in (static / folder).rglob("*") if path.is_file()
    } - OWN_FILES
    problems = [f"{path}: not in vendor.lock.json" for path in sorted(present - wanted.keys())]
    problems += [f"{path}: missing" for path in sorted(wanted.keys() - present)]
    problems += [f"{path}: changed" for path in sorted(present & wanted.keys()) if describe((static / path).read_bytes()) != wanted[path]]
    return problems + _manifest_differences(static, lock)


def update(static: Path) -> None:
    """Fetch every package of the manifest, copy its files and write the lock.

    Raises:
        ValueError: a package's content changed although its version did not.
    """
    lock_file = static / "vendor/vendor.lock.json"
    known: dict[str, Any] = json.loads(lock_file.read_text())["packages"] if lock_file.exists() else {}
    packages = {package["name"]: _install(package, static, known=known.get(package["name"])) for package in _manifest(static)}
    lock_file.write_text(json.dumps({"packages": packages}, indent=2) + "\n")


def _manifest(static: Path) -> list[dict[str, Any]]:
    packages: list[dict[str, Any]] = tomllib.loads((static / "vendor/vendor.toml").read_text())["package"]
    return packages


def _manifest_differences(static: Path, lock: dict[str, Any]) -> list[str]:
    problems = []
    for package in _manifest(static):
        locked = lock["packages"].get(package["name"], {})
        if locked.get("version") != package["version"] or set(locked.get("files", {})) != set(package["files"].values()):
            problems.append(f"{package['name']}: vendor.toml and vendor.lock.json differ; run update")
    return problems


def _install(package: dict[str, Any], static: Path, *, known: dict[str, Any] | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", f"{package['name']}@{package['version']}", "--json", "--pack-destination", folder]
        subprocess.run(command, check=True, capture_output=True, cwd=folder)
        (tarball,) = Path(folder).glob("*.tgz")
        integrity = "sha512-" + base64.b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode()
        if known and known["version"] == package["version"] and known["integrity"] != integrity:
            raise ValueError(f"{package['name']}@{package['version']} changed without a new version, was {known['integrity']}")
        with tarfile.open(tarball) as archive:
            files = {target: _copy(archive, source, static / target) for source, target in package["files"].items()}
    return {"version": package["version"], "licence": package["licence"], "integrity": integrity, "files": files}


def _copy(archive: tarfile.TarFile, source: str, target: Path) -> dict[str, Any]:
    content = archive.extractfile(f"package/{source}")
    if content is None:
        raise FileNotFoundError(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    with content, target.open("wb") as out:
        shutil.copyfileobj(content, out)
    return describe(target.read_bytes())


def main(arguments: list[str]) -> int:
    """Run `update` or `check`; the exit code is 1 when something differs."""
    if arguments == ["update"]:
        update(STATIC)
    elif arguments != ["check"]:
        sys.stderr.write("usage: python -m tests.ui.vendor update|check\n")
        return 2
    problems = check(STATIC)
    sys.stderr.writelines(f"{problem}\n" for problem in problems)
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
