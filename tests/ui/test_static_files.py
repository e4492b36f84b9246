import gzip
import posixpath
import re
from functools import cache
from pathlib import Path

import pytest
from httpx import ASGITransport, AsyncClient, Response
from starlette.applications import Starlette
from starlette.routing import Route

from app.ui.assets import IMMUTABLE, REVALIDATE, Assets
from app.ui.templating import Templating
from tests.ui import sample_views

ROOT = Path(__file__).resolve().parents[2]


async def fetch(assets: Assets, path: str, **headers: str) -> Response:
    app = Starlette(routes=[Route("/static/{path:path}", assets.serve)])
    async with AsyncClient(transport=ASGITransport(app=app), base_url="http://test") as client:
        return await client.get(path, headers=headers)


@pytest.mark.asyncio
async def test_versioned_file_is_kept_for_a_year(assets: Assets) -> None:
    answer = await fetch(assets, assets.url("css/tokens.css"))
    assert answer.headers["cache-control"] == IMMUTABLE
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.content == (ROOT / "static/css/tokens.css").read_bytes()


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/static/css/tokens.css", "/static/00000000/css/tokens.css"])
async def test_file_under_no_version_or_an_old_one_is_asked_for_again(assets: Assets, path: str) -> None:
    first = await fetch(assets, path)
    assert first.headers["cache-control"] == REVALIDATE
    second = await fetch(assets, path, **{"If-None-Match": first.headers["etag"]})
    assert second.status_code == 304


@pytest.mark.asyncio
async def test_client_without_gzip_gets_the_plain_file(assets: Assets) -> None:
    answer = await fetch(assets, assets.url("js/app.js"), **{"Accept-Encoding": "identity"})
    assert "content-encoding" not in answer.headers
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "path", ["vendor/vendor.lock.json", "vendor/vendor.toml", "../pyproject.toml", "%2e%2e/pyproject.toml", "css", "", "nothing.css"]
)
async def test_other_files_are_not_served(assets: Assets, path: str) -> None:
    assert (await fetch(assets, f"/static/{path}")).status_code == 404


def test_version_changes_with_any_content(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("a{}")
    before = Assets(tmp_path).version
    (tmp_path / "a.css").write_text("b{}")
    assert Assets(tmp_path).version != before


def test_unknown_file_in_a_template_is_an_error(assets: Assets) -> None:
    with pytest.raises(KeyError):
        assets.url("css/nothing.css")


@cache
def weight_of(path: str) -> int:
    """What a file weighs on its way."""
    return len(gzip.compress((ROOT / "static" / path).read_bytes()))


@cache
def imported_by(path: str) -> frozenset[str]:
    """The modules that a module of ours imports."""
    named = re.findall(r'(?:from|import) "([.][^"]+)"', (ROOT / "static" / path).read_text())
    return frozenset(posixpath.normpath(f"{posixpath.dirname(path)}/{name}") for name in named)


def files_of(html: str) -> set[str]:
    """The files that a page asks for: those it links, and the modules that these import."""
    files = set(re.findall(r"/static/[0-9a-f]{8}/([\w./-]+)", html))
    waiting = [path for path in files if path.endswith(".js") and not path.startswith("vendor/")]
    while waiting:
        found = imported_by(waiting.pop())
        waiting += [name for name in found - files if not name.startswith("vendor/")]
        files |= found
    return files


@pytest.mark.parametrize("name", sorted(sample_views.pages()))
def test_page_weight_stays_within_its_budget(name: str, templating: Templating) -> None:
    template, view = sample_views.pages()[name]
    html = templating.page(template, view)
    weights = {path: weight_of(path) for path in files_of(html)}
    charts = weights.pop("vendor/lightweight-charts.js", 0)
    # Larger than any page, and on one only: what it weighs is its own budget.
    weights.pop("vendor/codemirror.mjs", 0)
    assert sum(weights.values()) < 150_000
    assert charts < 70_000


def test_raw_colours_live_in_the_tokens_only() -> None:
    for path in (ROOT / "static/css").glob("*.css"):
        if path.name != "tokens.css":
            assert re.findall(r"#[0-9A-Fa-f]{3,8}\b(?=\s*[;,)])", path.read_text()) == [], path.name
