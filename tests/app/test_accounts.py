import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from jose import jwt

from app.accounts.service import WRONG_LOGIN
from app.core.clock import ManualClock
from app.core.db import Database
from app.core.ids import new_id
from app.core.security import PasswordHasher, csrf_token, decode_token, encode_token, fingerprint, new_secret
from app.errors import InvalidInput, NameTaken, NotAuthenticated
from tests.app.conftest import JWT_SECRET, PASSWORD, make_accounts

pytestmark = pytest.mark.asyncio


async def rows(database: Database, sql: str) -> list[Any]:
    async with database.connection() as connection:
        return list(await connection.fetch(sql))


@pytest.mark.parametrize(
    ("password", "words"),
    [("short", "at least 10"), ("x" * 73, "at most 72 bytes, was 73"), ("é" * 37, "at most 72 bytes, was 74")],
)
async def test_password_that_bcrypt_would_cut_is_refused(password: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        await PasswordHasher(cost=4).hash(password)


@pytest.mark.parametrize("password", ["x" * 72, "é" * 36, "with\0a zero inside", "half a \ud800 pair"])
async def test_password_is_verified_and_no_other(password: str) -> None:
    hasher = PasswordHasher(cost=4)
    hashed = await hasher.hash(password)
    assert await hasher.verify(password, hashed)
    assert not await hasher.verify(password + "x", hashed)
    assert not await hasher.verify(password[:-1], hashed)
    assert not await hasher.verify(password, None)


async def test_unknown_name_costs_as_much_as_a_wrong_password(database: Database) -> None:
    hasher = PasswordHasher(cost=9)
    hashed = await hasher.hash(PASSWORD)

    async def cost(given: str | None) -> float:
        began = time.perf_counter()
        for _ in range(3):
            await hasher.verify("a wrong password", given)
        return time.perf_counter() - began

    wrong, unknown = await cost(hashed), await cost(None)
    assert 0.3 < unknown / wrong < 3


async def test_login_opens_a_session_for_cookie_and_token(database: Database) -> None:
    accounts = make_accounts(database)
    user = await accounts.create_user("Ada", PASSWORD)
    login = await accounts.log_in(" ada ", PASSWORD, ip_address="192.0.2.1", user_agent="x" * 1000)
    by_cookie = await accounts.by_cookie(login.cookie)
    claims = decode_token(JWT_SECRET, accounts.issue_token(user_id=user.id, session_id=login.session_id))
    by_token = await accounts.by_session(claims.session_id)
    assert by_cookie == by_token
    assert by_cookie is not None
    assert (by_cookie.user_id, by_cookie.username, by_cookie.is_admin) == (user.id, "Ada", False)
    (stored,) = await rows(database, "SELECT token_hash, user_agent FROM user_sessions")
    assert stored["token_hash"] == fingerprint(login.cookie)
    assert len(stored["user_agent"]) == 300


@pytest.mark.parametrize(
    ("name", "password"),
    [("ada", "a wrong password"), ("nobody", PASSWORD), ("ada", "x" * 500), ("ada\0", PASSWORD), ("\ud800", PASSWORD), ("", "")],
)
async def test_wrong_name_and_wrong_password_get_the_same_answer(database: Database, name: str, password: str) -> None:
    accounts = make_accounts(database)
    await accounts.create_user("ada", PASSWORD)
    with pytest.raises(NotAuthenticated) as caught:
        await accounts.log_in(name, password)
    assert (caught.value.message, caught.value.code) == (WRONG_LOGIN, "WRONG_LOGIN")
    assert await rows(database, "SELECT 1 FROM user_sessions") == []


async def test_switched_off_user_gets_the_answer_of_a_stranger_and_no_session_works(database: Database) -> None:
    accounts = make_accounts(database)
    await accounts.create_user("ada", PASSWORD)
    login = await accounts.log_in("ada", PASSWORD)
    await rows(database, "UPDATE users SET is_active = false")
    assert await accounts.by_cookie(login.cookie) is None
    assert await accounts.by_session(login.session_id) is None
    with pytest.raises(NotAuthenticated, match=WRONG_LOGIN):
        await accounts.log_in("ada", PASSWORD)


async def test_logout_ends_cookie_and_bearer_at_once(database: Database) -> None:
    accounts = make_accounts(database)
    await accounts.create_user("ada", PASSWORD)
    login, other = await accounts.log_in("ada", PASSWORD), await accounts.log_in("ada", PASSWORD)
    await accounts.log_out(login.session_id)
    assert await accounts.by_cookie(login.cookie) is None
    assert await accounts.by_session(login.session_id) is None
    assert await accounts.by_cookie(other.cookie) is not None, "the other browser stays"


async def test_session_ends_when_idle_and_at_its_absolute_end(database: Database) -> None:
    clock = ManualClock(datetime(2026, 5, 1, tzinfo=UTC))
    accounts = make_accounts(database, clock)
    await accounts.create_user("ada", PASSWORD)
    login = await accounts.log_in("ada", PASSWORD)
    for _ in range(24):
        clock.advance(timedelta(minutes=29))
        assert await accounts.by_cookie(login.cookie) is not None
    clock.advance(timedelta(minutes=29))
    assert await accounts.by_cookie(login.cookie) is None, "twelve hours have passed"

    idle = await accounts.log_in("ada", PASSWORD)
    clock.advance(timedelta(minutes=31))
    assert await accounts.by_cookie(idle.cookie) is None
    assert await accounts.by_session(idle.session_id) is not None, "programs may pause for longer"


def forged(**changes: Any) -> str:
    now = int(time.time())
    claims = {
        "sub": str(new_id()),
        "sid": str(new_id()),
        "jti": str(new_id()),
        "typ": "access",
        "aud": "aristobot-api",
        "iss": "aristobot",
        "iat": now,
        "exp": now + 60,
    }
    secret, algorithm = changes.pop("secret", JWT_SECRET), changes.pop("algorithm", "HS256")
    claims |= changes
    return str(jwt.encode({name: value for name, value in claims.items() if value is not None}, secret, algorithm=algorithm))


async def test_token_says_who_and_until_when() -> None:
    user_id, session_id, now = new_id(), new_id(), datetime.fromtimestamp(int(time.time()), UTC)
    token = encode_token(JWT_SECRET, user_id=user_id, session_id=session_id, now=now, lifetime=timedelta(minutes=10))
    claims = jwt.get_unverified_claims(token)
    assert claims.keys() == {"sub", "sid", "jti", "typ", "aud", "iss", "iat", "exp"}
    read = decode_token(JWT_SECRET, token)
    assert (read.user_id, read.session_id, read.expires_at) == (user_id, session_id, int(now.timestamp()) + 600)
    assert decode_token(JWT_SECRET, forged()).expires_at > now.timestamp()


NONE_TOKEN = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0." + forged().split(".")[1] + "."


@pytest.mark.parametrize(
    "token",
    [
        NONE_TOKEN,
        NONE_TOKEN + forged().split(".")[2],
        forged(algorithm="HS512"),
        forged(secret="another-secret-of-more-than-32-bytes"),
        forged(aud="another"),
        forged(aud=None),
        forged(iss="another"),
        forged(iss=None),
        forged(exp=int(time.time()) - 1),
        forged(exp=None),
        forged(iat=None),
        forged(jti=None),
        forged(sub=None),
        forged(sid=None),
        forged(sid="not a uuid"),
        forged(sub="not a uuid"),
        forged(typ="refresh"),
        forged(typ=None),
        forged()[:-2],
        "",
        "a.b.c",
        "....",
        "\u00e9.\u00e9.\u00e9",
        "e30.e30.e30",
        "W10.W10.W10",
    ],
)
async def test_token_that_is_not_exactly_ours_is_refused_without_saying_why(token: str) -> None:
    with pytest.raises(NotAuthenticated, match="not valid"):
        decode_token(JWT_SECRET, token)


async def test_page_token_belongs_to_one_session() -> None:
    one, other = new_id(), new_id()
    assert csrf_token(JWT_SECRET, one) == csrf_token(JWT_SECRET, one)
    assert csrf_token(JWT_SECRET, one) != csrf_token(JWT_SECRET, other)
    assert new_secret() != new_secret()


async def test_first_administrator_is_made_once_even_by_two_starts_at_once(database: Database) -> None:
    starts = [make_accounts(database) for _ in range(2)]
    made = await asyncio.gather(*(accounts.ensure_admin("admin", None) for accounts in starts))
    (password,) = [one for one in made if one is not None]
    (user,) = await rows(database, "SELECT username, is_admin, password_hash FROM users")
    assert (user["username"], user["is_admin"]) == ("admin", True)
    assert (await starts[0].log_in("admin", password)).user.is_admin
    assert password not in user["password_hash"]
    assert await starts[0].ensure_admin("admin", None) is None
    assert len(await rows(database, "SELECT 1 FROM users")) == 1


async def test_given_password_of_the_administrator_is_not_told_again(database: Database) -> None:
    accounts = make_accounts(database)
    assert await accounts.ensure_admin("admin", PASSWORD) is None
    assert (await accounts.log_in("admin", PASSWORD)).user.is_admin


async def test_name_is_taken_whatever_its_case(database: Database) -> None:
    accounts = make_accounts(database)
    await accounts.create_user("ada", PASSWORD, email="ada@example.org")
    with pytest.raises(NameTaken, match="ADA"):
        await accounts.create_user("ADA", PASSWORD)
    with pytest.raises(NameTaken):
        await accounts.create_user("eve", PASSWORD, email="ADA@example.org")


@pytest.mark.parametrize("name", ["", " ", "a", "x" * 61, "two\nlines", "zero\0", "\ud800\ud800"])
async def test_name_that_nobody_could_read_is_refused(database: Database, name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await make_accounts(database).create_user(name, PASSWORD)
    assert caught.value.field == "username"
