"""Vendored front-end files: copy them from their packages, and prove later, offline, that nobody changed a byte.

`python -m tests.ui.vendor update` packs each package named by `static/vendor/vendor.toml` with the npm client, copies the listed files and
writes `vendor.lock.json`; it refuses a package whose content changed under the same version. `python -m tests.ui.vendor check` compares
what lies under `static/vendor` and `static/fonts` with the lock, and reports mismatches, missing files and files nobody listed.

CodeMirror comes as many modules and no single file: `tools/editor` bundles it. The lock records what the bundle was made from as well, so
that an edited entry, or another version in the lock of npm, is noticed without building anything.
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
TOOLS = STATIC.parent / "tools"
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


def stale_bundles(static: Path, tools: Path) -> list[str]:
    """Return one sentence for each file that a bundle was not made from as it is now."""
    packages = json.loads((static / "vendor/vendor.lock.json").read_text())["packages"]
    recorded = {path: digest for package in packages.values() for path, digest in package.get("inputs", {}).items()}
    return [f"{path}: the bundle was not made from it; run update" for path in recorded if _digest(tools / path) != recorded[path]]


def build(package: dict[str, Any], tools: Path, output: Path) -> None:
    """Bundle a package of the manifest that names a folder under `tools` into `output`: the same bytes each time."""
    folder = tools / package["bundle"]
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], check=True, capture_output=True, cwd=folder)
    subprocess.run(["npm", "run", "build", "--", f"--outfile={output}"], check=True, capture_output=True, cwd=folder)


def update(static: Path, tools: Path = TOOLS) -> None:
    """Fetch every package of the manifest, copy its files and write the lock.

    Raises:
        ValueError: a package's content changed although its version did not.
    """
    lock_file = static / "vendor/vendor.lock.json"
    known: dict[str, Any] = json.loads(lock_file.read_text())["packages"] if lock_file.exists() else {}
    packages = {
        package["name"]: _bundle(package, static, tools)
        if "bundle" in package
        else _install(package, static, known=known.get(package["name"]))
        for package in manifest(static)
    }
    lock_file.write_text(json.dumps({"packages": packages}, indent=2) + "\n")


def manifest(static: Path) -> list[dict[str, Any]]:
    """Return the packages that are taken, as `vendor.toml` lists them."""
    packages: list[dict[str, Any]] = tomllib.loads((static / "vendor/vendor.toml").read_text())["package"]
    return packages


def _manifest_differences(static: Path, lock: dict[str, Any]) -> list[str]:
    problems = []
    for package in manifest(static):
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


def _bundle(package: dict[str, Any], static: Path, tools: Path) -> dict[str, Any]:
    module, licences = (static / package["files"][name] for name in ("module", "LICENSES"))
    build(package, tools, module)
    licences.write_text(_licences_of(tools / package["bundle"] / "node_modules"))
    inputs = {path: _digest(tools / path) for path in (f"{package['bundle']}/{name}" for name in ("entry.js", "package-lock.json"))}
    files = {target: describe((static / target).read_bytes()) for target in package["files"].values()}
    return {"version": package["version"], "licence": package["licence"], "inputs": inputs, "files": files}


def _licences_of(modules: Path) -> str:
    """Every licence of what is bundled, each once, headed by the packages that it is of."""
    found: dict[str, list[str]] = {}
    for path in sorted([*modules.glob("*/LICENSE"), *modules.glob("@*/*/LICENSE")]):
        name = path.parent.relative_to(modules).as_posix()
        # The bundler itself leaves nothing in what it makes.
        if name.split("/")[0] not in ("esbuild", "@esbuild"):
            found.setdefault(path.read_text().strip(), []).append(name)
    return "\n\n".join(f"{', '.join(names)}\n\n{text}" for text, names in found.items()) + "\n"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


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
    problems = check(STATIC) + stale_bundles(STATIC, TOOLS)
    sys.stderr.writelines(f"{problem}\n" for problem in problems)
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
