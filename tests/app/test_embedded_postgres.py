import asyncio
import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from app.core.database_url import DatabaseUrls, sqlalchemy_url
from app.core.embedded_postgres import EmbeddedPostgres
from app.core.paths import resource
from app.errors import ConfigError
from tests.fault_matrix import row
from tests.postgres import connected, data_folder

ROOT = resource("migrations").parent
DEADLINE_S = 10.0

#: A process that shares the server: it says when it has joined, and leaves when its input ends.
USER = """
import asyncio, codecs, concurrent.futures.thread, json, os, sys
from pathlib import Path
from app.core.embedded_postgres import EmbeddedPostgres
from app.core.migrate import upgrade
import asyncpg
if len(sys.argv) > 2:
    for name in ("ascii", "latin-1", "idna"):  # the interpreter may lie where the other user cannot read, so nothing may be loaded later
        codecs.lookup(name)
    os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
async def main():
    server = EmbeddedPostgres(Path(sys.argv[1]))
    urls = await server.start()
    if len(sys.argv) == 2:
        await upgrade(urls.owner)
    connection = await asyncpg.connect(urls.app)
    print(json.dumps({"uid": os.geteuid(), "user": await connection.fetchval("SELECT current_user")}), flush=True)
    await connection.close()
    await asyncio.to_thread(sys.stdin.read)
    await server.stop()
asyncio.run(main())
"""


class Sharer:
    """Another process that uses the server of a data folder."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER, str(folder), *arguments], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def joined(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                return dict(json.loads(line))
        raise AssertionError("the process ended before it had joined")

    def leave(self) -> int:
        self.process.communicate(timeout=30)
        return self.process.returncode

    def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
            self.process.communicate()


Share = Callable[..., Sharer]


@pytest.fixture
def share() -> Iterator[Share]:
    """Start processes that share a server; none outlives the test."""
    with ExitStack() as stack:

        def start(folder: Path, *arguments: str) -> Sharer:
            sharer = Sharer(folder, *arguments)
            stack.callback(sharer.kill)
            return sharer

        yield start


@pytest.fixture(scope="module")
def kept_folder() -> Iterator[Path]:
    """A data folder whose cluster the tests of this file share, one after the other; each leaves its server stopped."""
    folder = data_folder()
    asyncio.run(with_server(folder, _nothing))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def empty_folder() -> Iterator[Path]:
    """A data folder for a very first start."""
    folder = data_folder()
    yield folder
    shutil.rmtree(folder)


def postmaster_pid(folder: Path) -> int:
    return int((folder / "postgres" / "postmaster.pid").read_text().split()[0])


def is_running(folder: Path) -> bool:
    """Whether any living process works in the cluster's folder."""
    for process in psutil.process_iter():
        try:
            if process.name() == "postgres" and process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == folder / "postgres":
                return True
        except psutil.Error:
            continue
    return False


async def value(url: str, query: str) -> Any:
    async with connected(url) as connection:
        return await connection.fetchval(query)


async def _nothing(server: EmbeddedPostgres, urls: DatabaseUrls) -> None:
    del server, urls


async def with_server(folder: Path, work: Callable[[EmbeddedPostgres, DatabaseUrls], Awaitable[None]]) -> None:
    server = EmbeddedPostgres(folder)
    urls = await server.start()
    try:
        await work(server, urls)
    finally:
        await server.stop()


@pytest.mark.asyncio
async def test_second_start_finds_the_rows_of_the_first_and_is_quick(kept_folder: Path) -> None:
    async def first(server: EmbeddedPostgres, urls: DatabaseUrls) -> None:
        async with connected(urls.owner) as owner:
            await owner.execute("CREATE TABLE IF NOT EXISTS of_first_start (id int); INSERT INTO of_first_start VALUES (1)")

    async def second(server: EmbeddedPostgres, urls: DatabaseUrls) -> None:
        assert time.monotonic() - begun < 2.0
        assert await value(urls.app, "SELECT count(*) FROM of_first_start") >= 1

    await with_server(kept_folder, first)
    assert not is_running(kept_folder)
    begun = time.monotonic()
    await with_server(kept_folder, second)


@pytest.mark.asyncio
async def test_two_processes_that_start_at_once_share_one_migrated_database(empty_folder: Path, share: Share) -> None:
    sharers = [share(empty_folder), share(empty_folder)]
    assert [(await asyncio.to_thread(sharer.joined))["user"] for sharer in sharers] == ["aristobot_app", "aristobot_app"]

    async def look(server: EmbeddedPostgres, urls: DatabaseUrls) -> None:
        assert await value(urls.owner, "SELECT count(*) FROM alembic_version") == 1

    await with_server(empty_folder, look)
    assert [sharer.leave() for sharer in sharers] == [0, 0]
    assert not is_running(empty_folder)


@pytest.fixture
def stranger(kept_folder: Path) -> Iterator[int]:
    """A living process of the very account the server runs as: PostgreSQL itself takes that one for another postmaster."""
    account = kept_folder / "postgres"
    process = subprocess.Popen(["sleep", "60"], user=account.stat().st_uid if os.geteuid() == 0 else None)
    yield process.pid
    assert process.poll() is None
    process.kill()
    process.wait()


@pytest.fixture
def zombie() -> Iterator[int]:
    """A process that ended and that nobody collects."""
    process = subprocess.Popen(["true"])
    deadline = time.monotonic() + DEADLINE_S
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.01)
    yield process.pid
    process.wait()


@pytest.mark.asyncio
async def test_pid_file_that_names_a_living_stranger_does_not_keep_the_server_from_starting(kept_folder: Path, stranger: int) -> None:
    await _start_with_pid_file(kept_folder, stranger)


@pytest.mark.asyncio
async def test_pid_file_that_names_a_zombie_does_not_keep_the_server_from_starting(kept_folder: Path, zombie: int) -> None:
    await _start_with_pid_file(kept_folder, zombie)


@pytest.mark.asyncio
async def test_pid_file_that_names_ourselves_does_not_keep_the_server_from_starting(kept_folder: Path) -> None:
    await _start_with_pid_file(kept_folder, os.getpid())


async def _start_with_pid_file(folder: Path, pid: int) -> None:
    async def look(server: EmbeddedPostgres, urls: DatabaseUrls) -> None:
        assert await value(urls.app, "SELECT 1") == 1
        assert postmaster_pid(folder) != pid

    socket_dir = folder / "postgres-socket"
    content = f"{pid}\n{folder / 'postgres'}\n1700000000\n5432\n{socket_dir}\n\n  1234567         1\nready   \n"
    (folder / "postgres" / "postmaster.pid").write_text(content)
    await with_server(folder, look)
    assert not is_running(folder)


@row(33)
@pytest.mark.asyncio
async def test_committed_rows_survive_a_killed_server_and_it_comes_back(kept_folder: Path) -> None:
    async def crash(server: EmbeddedPostgres, urls: DatabaseUrls) -> None:
        async with connected(urls.owner) as owner:
            await owner.execute("DROP TABLE IF EXISTS crashed; CREATE TABLE crashed (id int)")
        async with connected(urls.app) as app:
            for number in range(200):
                await app.execute("INSERT INTO crashed VALUES ($1)", number)
        assert not await server.ensure_running()
        os.kill(postmaster_pid(kept_folder), signal.SIGKILL)
        begun = time.monotonic()
        assert await server.ensure_running()
        assert time.monotonic() - begun < 5.0
        assert await value(urls.app, "SELECT count(*) FROM crashed") == 200

    before = {child.pid for child in psutil.Process().children()}
    await with_server(kept_folder, crash)
    assert not is_running(kept_folder)
    assert not [child for child in psutil.Process().children() if child.name() == "postgres" and child.pid not in before]


@pytest.mark.asyncio
async def test_nobody_gets_in_without_the_password(kept_folder: Path) -> None:
    async def look(server: EmbeddedPostgres, urls: DatabaseUrls) -> None:
        for role in ("postgres", "aristobot_owner", "aristobot_app"):
            with pytest.raises(asyncpg.InvalidPasswordError):
                await asyncpg.connect(urls.app, user=role, password="guess")
        assert await value(urls.app, "SELECT current_setting('listen_addresses')") == ""

    await with_server(kept_folder, look)


@pytest.mark.asyncio
async def test_first_of_two_to_leave_keeps_the_server_and_the_last_stops_it(kept_folder: Path) -> None:
    first, second = EmbeddedPostgres(kept_folder), EmbeddedPostgres(kept_folder)
    await first.start()
    urls = await second.start()
    await first.stop()
    assert await value(urls.app, "SELECT 1") == 1
    await second.stop()
    assert not is_running(kept_folder)


@pytest.mark.asyncio
async def test_process_that_leaves_does_not_stop_the_server_under_another(kept_folder: Path, share: Share) -> None:
    async def look(server: EmbeddedPostgres, urls: DatabaseUrls) -> None:
        sharer = share(kept_folder)
        await asyncio.to_thread(sharer.joined)
        assert await asyncio.to_thread(sharer.leave) == 0
        assert await value(urls.app, "SELECT 1") == 1

    await with_server(kept_folder, look)


@pytest.mark.asyncio
async def test_killed_process_does_not_keep_the_server_running_after_the_next_one_left(kept_folder: Path, share: Share) -> None:
    sharer = share(kept_folder)
    await asyncio.to_thread(sharer.joined)
    await asyncio.to_thread(sharer.kill)
    assert is_running(kept_folder)
    await with_server(kept_folder, _nothing)
    assert not is_running(kept_folder)


@pytest.mark.asyncio
async def test_long_path_with_blanks_and_signs_works(empty_folder: Path) -> None:
    async def look(server: EmbeddedPostgres, urls: DatabaseUrls) -> None:
        assert await value(urls.app, "SELECT current_user") == "aristobot_app"
        engine = create_async_engine(sqlalchemy_url(urls.owner))
        async with engine.connect() as connection:
            assert await connection.scalar(text("SELECT current_user")) == "aristobot_owner"
        await engine.dispose()

    folder = empty_folder / ("a long way " * 6) / 'it\'s, "$HOME" & 100 % more' / ("x" * 60)
    await with_server(folder, look)
    assert (folder / "postgres" / "PG_VERSION").exists()


@pytest.mark.asyncio
async def test_nothing_in_the_data_folder_can_be_read_by_others(kept_folder: Path) -> None:
    await with_server(kept_folder, _nothing)
    modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in os.scandir(kept_folder)}
    assert stat.S_IMODE(os.stat(kept_folder).st_mode) & 0o067 == 0
    assert modes == {
        "postgres": 0o700,
        "postgres-locks": 0o700,
        "postgres-superuser": 0o600,
        "postgres-roles.json": 0o600,
        "postgres.log": 0o600,
    }


@pytest.mark.asyncio
async def test_server_is_not_told_our_secrets(kept_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERNET_KEY", "not for the database")

    async def look(server: EmbeddedPostgres, urls: DatabaseUrls) -> None:
        assert "FERNET_KEY" not in psutil.Process(postmaster_pid(kept_folder)).environ()

    await with_server(kept_folder, look)


@pytest.mark.asyncio
async def test_lost_role_passwords_are_made_anew(kept_folder: Path) -> None:
    async def look(server: EmbeddedPostgres, urls: DatabaseUrls) -> None:
        assert await value(urls.owner, "SELECT 1") == 1

    await with_server(kept_folder, _nothing)
    (kept_folder / "postgres-roles.json").unlink()
    await with_server(kept_folder, look)


@pytest.mark.asyncio
async def test_server_that_cannot_start_says_why(kept_folder: Path) -> None:
    await with_server(kept_folder, _nothing)
    with pytest.raises(ConfigError, match="nonsense"):
        await EmbeddedPostgres(kept_folder, settings={"shared_buffers": "nonsense"}).start()
    assert not is_running(kept_folder)


@pytest.mark.asyncio
async def test_lost_superuser_password_is_said_in_words(kept_folder: Path) -> None:
    await with_server(kept_folder, _nothing)
    file = kept_folder / "postgres-superuser"
    aside = file.rename(kept_folder / "aside")
    try:
        with pytest.raises(ConfigError, match="is missing"):
            await EmbeddedPostgres(kept_folder).start()
        file.write_text("another")
        with pytest.raises(ConfigError, match="does not hold the password"):
            await EmbeddedPostgres(kept_folder).start()
    finally:
        aside.rename(file)
    assert not is_running(kept_folder)


@pytest.mark.asyncio
async def test_first_start_that_was_cut_off_is_begun_again(empty_folder: Path) -> None:
    half = empty_folder / "postgres-unfinished" / "cluster"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    await with_server(empty_folder, _nothing)
    assert not (empty_folder / "postgres-unfinished").exists()


@pytest.mark.asyncio
async def test_ordinary_user_runs_the_server_as_themselves(empty_folder: Path, share: Share) -> None:
    if os.geteuid() != 0:
        pytest.skip("this whole run is an ordinary user's")
    nobody = pwd.getpwnam("nobody")
    os.chown(empty_folder, nobody.pw_uid, nobody.pw_gid)
    sharer = share(empty_folder, str(nobody.pw_uid))
    assert await asyncio.to_thread(sharer.joined) == {"uid": nobody.pw_uid, "user": "aristobot_app"}
    assert psutil.Process(postmaster_pid(empty_folder)).uids().real == nobody.pw_uid
    assert await asyncio.to_thread(sharer.leave) == 0
    assert not is_running(empty_folder)
