"""The login pages tell a person when to come back, in words and to machines."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.app.whole_site import Site, running_site
from tests.emulator_process import EmulatorProcess
from tests.postgres import PostgresForTests

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    postgres: PostgresForTests, standing_emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    async with running_site(postgres, standing_emulator, tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.mark.parametrize(("language", "words"), [("en", "Try again in "), ("fr", "Réessayez dans ")])
async def test_a_page_that_refuses_says_when_the_next_try_is_taken(site: Site, language: str, words: str) -> None:
    name = f"nobody-{language}"
    for _ in range(6):
        fields = {"username": name, "password": "a wrong guess"}
        answer = await site.http.post("/login", data=fields, headers={"Cookie": f"lang={language}"})
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert words in answer.text


async def test_the_api_says_it_too(site: Site) -> None:
    for _ in range(6):
        answer = await site.http.post("/api/auth/login", json={"username": "nobody", "password": "a wrong guess"})
    assert (answer.status_code, answer.json()["code"]) == (429, "TOO_MANY_ATTEMPTS")
    assert answer.json()["detail"] == f"Too many attempts went wrong. Try again in {answer.headers['retry-after']} seconds."
