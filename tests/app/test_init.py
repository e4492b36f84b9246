"""`aristobot init`: what everything begins with is made once, whoever runs it how often."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from app.bootstrap.commands import initialise
from app.core.config import Settings
from app.core.database_url import DatabaseUrls
from app.errors import ConfigError
from tests.postgres import connected

pytestmark = pytest.mark.asyncio

_BEGINNING = """
SELECT (SELECT array_agg(ROW(username, is_admin, is_dev, password_hash IS NULL)::text ORDER BY username) FROM users) AS users,
       (SELECT array_agg(exchange) FROM heartbeat_status) AS heartbeats,
       (SELECT count(*) FROM encryption_keys WHERE is_sealing) AS keys, (SELECT count(*) FROM key_holders) AS holders,
       (SELECT md5(string_agg(u::text, ',' ORDER BY id)) FROM users u) AS as_they_are
"""


def settings(urls: DatabaseUrls, folder: Path, **given: Any) -> Settings:
    return Settings(_env_file=None, database_url=urls.app, database_owner_url=urls.owner, data_dir=folder, **given)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


async def beginning(urls: DatabaseUrls) -> dict[str, Any]:
    async with connected(urls.owner) as owner:
        return dict(await owner.fetchrow(_BEGINNING))


async def test_it_makes_the_administrator_dev_the_heartbeat_and_the_secrets_once(emptied_urls: DatabaseUrls, tmp_path: Path) -> None:
    said: list[str] = []
    await initialise(settings(emptied_urls, tmp_path / "data"), said.append)

    made = await beginning(emptied_urls)
    assert made["users"] == ["(admin,t,f,f)", "(dev,t,t,t)"]
    assert (made["heartbeats"], made["keys"], made["holders"]) == (["binance"], 1, 0)
    assert [line.split()[0] for line in said] == ["Made", "Log", "The"]
    secrets = (tmp_path / "data" / "secrets.env").read_text()

    said.clear()
    for _ in range(2):
        await initialise(settings(emptied_urls, tmp_path / "data", admin_password="another password 1"), said.append)
    assert await beginning(emptied_urls) == made, "what is there stays as it is, the password too"
    assert (tmp_path / "data" / "secrets.env").read_text() == secrets
    assert [line.split()[0] for line in said] == ["The", "The"]


async def test_several_at_once_make_one_of_each(emptied_urls: DatabaseUrls, tmp_path: Path) -> None:
    said: list[str] = []
    await asyncio.gather(*(initialise(settings(emptied_urls, tmp_path / "data"), said.append) for _ in range(3)))
    made = await beginning(emptied_urls)
    assert made["users"] == ["(admin,t,f,f)", "(dev,t,t,t)"]
    assert (made["heartbeats"], made["keys"]) == (["binance"], 1)
    assert sum(line.startswith("Log in as admin") for line in said) == 1


async def test_somebody_else_called_dev_is_said_in_words(emptied_urls: DatabaseUrls, tmp_path: Path) -> None:
    async with connected(emptied_urls.owner) as owner:
        await owner.execute("INSERT INTO users (id, username) VALUES (gen_random_uuid(), 'Dev')")
    with pytest.raises(ConfigError, match="a user has the name dev"):
        await initialise(settings(emptied_urls, tmp_path / "data"), lambda _: None)
    with pytest.raises(ValidationError, match="dev is the name of development mode's own user"):
        settings(emptied_urls, tmp_path, admin_user="DEV")
