import gzip
import re
from pathlib import Path

import pytest
from httpx import ASGITransport, AsyncClient, Response
from starlette.applications import Starlette
from starlette.routing import Route

from app.ui.assets import IMMUTABLE, REVALIDATE, Assets

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


def test_page_weight_stays_within_its_budget() -> None:
    static = ROOT / "static"
    pages = [*static.glob("css/*.css"), *static.glob("js/*.js"), static / "vendor/htmx.min.js", static / "vendor/hx-sse.min.js"]
    weight = sum(len(gzip.compress(path.read_bytes())) for path in pages) + (static / "fonts/inter-latin-wght-normal.woff2").stat().st_size
    charts = len(gzip.compress((static / "vendor/lightweight-charts.js").read_bytes()))
    assert weight < 150_000
    assert charts < 70_000


def test_raw_colours_live_in_the_tokens_only() -> None:
    for path in (ROOT / "static/css").glob("*.css"):
        if path.name != "tokens.css":
            assert re.findall(r"#[0-9A-Fa-f]{3,8}\b(?=\s*[;,)])", path.read_text()) == [], path.name
