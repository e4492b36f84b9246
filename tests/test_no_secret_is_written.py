"""What a run's logs and databases are looked through for at its end (tests/conftest.py): a run that wrote a secret down has failed."""

from pathlib import Path

import pytest

from tests import leaks
from tests.postgres import PostgresForTests, connected


def test_what_is_looked_for_is_found() -> None:
    signed = b"GET /api/v3/order?symbol=BTCUSDT&timestamp=1&signature=" + b"5f2a" * 16
    for text in (signed, b'"api_secret": "secret-of-trader-7"', b"X-MBX-APIKEY: abc", b"key sk-or-v1-a-key-of-a-test-9f3c"):
        assert leaks.SECRETS.search(text), text
    assert not leaks.SECRETS.search(b"signature=*** key ****")


def test_a_secret_in_a_servers_log_is_found(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "server.txt"
    path.write_text('{"event": "login", "password": "correct horse battery"}')
    assert list(leaks.leaks_in_files(tmp_path)) == []
    found = path.rename(path.with_suffix(".log"))
    assert list(leaks.leaks_in_files(tmp_path)) == [(found, "correct horse battery")]
    found.unlink()


@pytest.mark.asyncio
async def test_a_secret_in_a_database_is_found(postgres: PostgresForTests, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "found_in_databases", [])
    urls = await postgres.create_database()
    async with connected(urls.owner) as owner:
        await owner.execute("INSERT INTO users (id, username) VALUES (gen_random_uuid(), 'a long sentence, number 5')")
    await postgres.drop_database(urls)
    assert len(leaks.found_in_databases) == 1
