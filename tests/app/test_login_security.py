"""Guessing does not pay: attempts are counted, second factors work once, and a changed password ends all other logins."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pyotp
import pytest
import pytest_asyncio

from app.accounts.passwords import check_new_password
from app.accounts.service import Accounts
from app.core.clock import ManualClock
from app.core.db import Database
from app.core.security import decode_token
from app.errors import AppError, Conflict, InvalidInput, NotAuthenticated, SecondFactorNeeded, TooManyAttempts
from tests.app.conftest import JWT_SECRET, PASSWORD, make_accounts

pytestmark = pytest.mark.asyncio

HOME, ELSEWHERE = "192.0.2.1", "198.51.100.7"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 11, 25, 12, tzinfo=UTC))


@pytest_asyncio.fixture
async def accounts(database: Database, clock: ManualClock) -> Accounts:
    found = make_accounts(database, clock)
    await found.create_user("ada", PASSWORD)
    return found


async def attempt(
    accounts: Accounts, name: str = "ada", password: str = "not the right one", address: str | None = ELSEWHERE, **more: Any
) -> str:
    """The code of what came of it."""
    try:
        await accounts.log_in(name, password, ip_address=address, **more)
    except AppError as error:
        return error.code
    return "OK"


@pytest.mark.parametrize("name", ["ada", "nobody", "ADA", "no\0body"])
async def test_after_five_wrong_passwords_one_must_wait_longer_and_longer_whoever_it_is(
    accounts: Accounts, clock: ManualClock, name: str
) -> None:
    assert [await attempt(accounts, name) for _ in range(6)] == ["WRONG_LOGIN"] * 5 + ["TOO_MANY_ATTEMPTS"]
    waits = []
    for _ in range(8):
        with pytest.raises(TooManyAttempts) as refused:
            await accounts.log_in(name, PASSWORD, ip_address=ELSEWHERE)
        waits.append(round(refused.value.retry_after_s))
        clock.advance(timedelta(seconds=waits[-1]))
        assert await attempt(accounts, name) == "WRONG_LOGIN"
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60], "and never for good"


async def test_the_right_password_is_not_even_looked_at_while_one_must_wait(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(5):
        await attempt(accounts)

    async def slow(*_: object) -> bool:
        raise AssertionError("a hash costs a quarter of a second")

    monkeypatch.setattr(accounts._hasher, "verify", slow)
    assert await attempt(accounts, password=PASSWORD) == "TOO_MANY_ATTEMPTS"


async def test_a_hundred_attempts_at_one_moment_are_not_more_than_five(accounts: Accounts) -> None:
    found = await asyncio.gather(*(attempt(accounts, address=f"203.0.113.{number}") for number in range(100)))
    assert (found.count("WRONG_LOGIN"), found.count("TOO_MANY_ATTEMPTS")) == (5, 95)


async def test_a_stranger_cannot_lock_out_the_owner_where_the_owner_is_known(accounts: Accounts) -> None:
    assert await attempt(accounts, password=PASSWORD, address=HOME) == "OK"
    for _ in range(6):
        last = await attempt(accounts)
    assert last == "TOO_MANY_ATTEMPTS"
    assert await attempt(accounts, password=PASSWORD, address=HOME) == "OK"
    assert await attempt(accounts, password=PASSWORD) == "TOO_MANY_ATTEMPTS"


async def test_an_address_that_tries_many_names_waits_for_all_of_them_and_own_successes_do_not_help_it(
    accounts: Accounts, clock: ManualClock
) -> None:
    await accounts.create_user("mallory", PASSWORD)
    wrong = 0
    for number in range(60):
        last = await attempt(accounts, f"name-{number}")
        wrong += last == "WRONG_LOGIN"
        if last == "TOO_MANY_ATTEMPTS":
            break
        await attempt(accounts, "mallory", PASSWORD)
    assert (wrong, last) == (20, "TOO_MANY_ATTEMPTS")
    assert await attempt(accounts, password=PASSWORD, address=HOME) == "OK"
    clock.advance(timedelta(hours=2))
    assert await attempt(accounts, password=PASSWORD) == "OK"


async def test_addresses_of_one_ipv6_customer_are_one(accounts: Accounts) -> None:
    found = [await attempt(accounts, f"name-{number}", address=f"2001:db8:1:2::{number:x}") for number in range(25)]
    assert found.count("WRONG_LOGIN") == 20


async def test_success_forgives_and_what_is_typed_is_not_stored(accounts: Accounts, database: Database) -> None:
    for _ in range(4):
        await attempt(accounts, "My secret passphrase")
        await attempt(accounts)
    assert await attempt(accounts, password=PASSWORD) == "OK"
    assert [await attempt(accounts) for _ in range(5)] == ["WRONG_LOGIN"] * 5
    async with database.connection() as connection:
        stored = str(await connection.fetch("SELECT key::text FROM login_attempts"))
    assert b"secret passphrase".hex() not in stored


async def test_a_thousand_guessing_machines_do_not_keep_the_owner_waiting(
    accounts: Accounts, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await attempt(accounts, password=PASSWORD, address=HOME) == "OK"
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def endless(password: str, _: str | None) -> bool:
        begun.set()
        if password != PASSWORD:
            await go_on.wait()
        return password == PASSWORD

    monkeypatch.setattr(accounts._hasher, "verify", endless)
    found: list[str] = []

    async def guess(number: int) -> None:
        found.append(await attempt(accounts, f"name-{number}", address=f"10.0.{number}.1"))
        if len(found) == 180:
            go_on.set()

    async with asyncio.TaskGroup() as group:
        for number in range(200):
            group.create_task(guess(number))
        await begun.wait()
        assert await attempt(accounts, password=PASSWORD, address=HOME) == "OK", "while the strangers' lane stands still"
    assert (found.count("WRONG_LOGIN"), found.count("TOO_MANY_ATTEMPTS")) == (20, 180), "who found the queue full was sent away"
    async with database.connection() as connection:
        counted = await connection.fetchval("SELECT sum(failures) FROM login_attempts")
    assert counted == 2 * 20, "by name and by address, and only what was judged"


async def test_accounts_cannot_be_made_by_the_thousand(accounts: Accounts) -> None:
    found = []
    for number in range(25):
        try:
            await accounts.create_user(f"robot-{number}", PASSWORD, origin=ELSEWHERE)
        except AppError as error:
            found.append(error.code)
    assert found == ["TOO_MANY_ATTEMPTS"] * 5
    for _ in range(25):
        with pytest.raises(InvalidInput):
            await accounts.create_user("slow-typist", "short", origin=HOME)
    assert (await accounts.create_user("slow-typist", PASSWORD, origin=HOME)).username == "slow-typist"


async def enrolled(accounts: Accounts, clock: ManualClock) -> tuple[UUID, UUID, pyotp.TOTP, list[str]]:
    login = await accounts.log_in("ada", PASSWORD, ip_address=HOME)
    made = await accounts.factors.enrol(login.user.id, "ada")
    totp = pyotp.TOTP(made.secret)
    codes = await accounts.switch_on(login.user.id, login.session_id, totp.at(clock.now()))
    clock.advance(timedelta(minutes=2))
    return login.user.id, login.session_id, totp, codes


async def test_a_second_factor_is_asked_for_after_the_password_and_not_instead(accounts: Accounts, clock: ManualClock) -> None:
    _, _, totp, codes = await enrolled(accounts, clock)
    assert len(set(codes)) == 10
    assert await attempt(accounts, password=PASSWORD) == "OTP_REQUIRED"
    assert await attempt(accounts, otp=totp.at(clock.now())) == "WRONG_LOGIN", "a right code tells nothing of a wrong password"
    assert await attempt(accounts, password=PASSWORD, otp="000000") == "WRONG_OTP"
    assert await attempt(accounts, password=PASSWORD, otp=totp.at(clock.now())) == "OK"


async def test_a_code_works_once_also_within_its_half_minute_and_for_a_step_before_and_after(
    accounts: Accounts, clock: ManualClock
) -> None:
    _, _, totp, _ = await enrolled(accounts, clock)
    now = clock.now()
    for code, expected in (
        (totp.at(now - timedelta(seconds=60)), "WRONG_OTP"),
        (totp.at(now - timedelta(seconds=30)), "OK"),
        (totp.at(now - timedelta(seconds=30)), "WRONG_OTP"),
        (totp.at(now + timedelta(seconds=30)), "OK"),
        (totp.at(now), "WRONG_OTP"),
    ):
        assert await attempt(accounts, password=PASSWORD, otp=code) == expected
    clock.advance(timedelta(minutes=1))
    code = totp.at(clock.now())
    found = await asyncio.gather(*(attempt(accounts, password=PASSWORD, otp=code, address=HOME) for _ in range(4)))
    assert found.count("OK") == 1


async def test_a_recovery_code_works_once(accounts: Accounts, clock: ManualClock) -> None:
    user_id, _, _, codes = await enrolled(accounts, clock)
    spelled = codes[3].upper().replace("-", " ")
    assert [await attempt(accounts, password=PASSWORD, otp=spelled) for _ in range(2)] == ["OK", "WRONG_OTP"]
    assert (await accounts.factors.state(user_id)).recovery_codes == 9


async def test_codes_cannot_be_guessed(accounts: Accounts, clock: ManualClock) -> None:
    await enrolled(accounts, clock)
    with pytest.raises(SecondFactorNeeded) as needed:
        await accounts.log_in("ada", PASSWORD)
    found = []
    for number in range(50):
        try:
            await accounts.finish_login(needed.value.challenge, f"{number:06}", ip_address=f"203.0.113.{number}")
        except AppError as error:
            found.append(error.code)
    assert (found.count("WRONG_OTP"), found.count("TOO_MANY_ATTEMPTS")) == (5, 45)


async def test_of_codes_five_are_tried_at_once_and_then_one_a_minute(accounts: Accounts, clock: ManualClock) -> None:
    user_id, _, _, _ = await enrolled(accounts, clock)
    judged = 0
    for _ in range(10 * 60):
        try:
            await accounts.check_code(user_id, "12345x")
        except AppError as error:
            judged += error.code == "WRONG_OTP"
        clock.advance(timedelta(seconds=1))
    assert judged == 5 + 9


async def test_the_code_cannot_follow_a_password_that_was_changed_meanwhile(accounts: Accounts, clock: ManualClock) -> None:
    user_id, session_id, totp, _ = await enrolled(accounts, clock)
    with pytest.raises(SecondFactorNeeded) as needed:
        await accounts.log_in("ada", PASSWORD)
    await accounts.change_password(user_id, session_id, current=PASSWORD, new="another good sentence")
    with pytest.raises(NotAuthenticated):
        await accounts.finish_login(needed.value.challenge, totp.at(clock.now()))


async def test_the_code_must_follow_the_password_soon_and_what_carries_it_is_no_token(accounts: Accounts, clock: ManualClock) -> None:
    _, _, totp, _ = await enrolled(accounts, clock)
    with pytest.raises(SecondFactorNeeded) as needed:
        await accounts.log_in("ada", PASSWORD)
    with pytest.raises(NotAuthenticated):
        await accounts.finish_login(needed.value.challenge[:-3] + "abc", totp.at(clock.now()))
    with pytest.raises(NotAuthenticated):
        decode_token(JWT_SECRET, needed.value.challenge)
    clock.advance(timedelta(minutes=4))
    assert (await accounts.finish_login(needed.value.challenge, totp.at(clock.now()))).user.username == "ada"
    clock.advance(timedelta(minutes=2))
    with pytest.raises(NotAuthenticated, match="too long"):
        await accounts.finish_login(needed.value.challenge, totp.at(clock.now()))


async def test_switching_on_and_off_ends_other_logins_and_needs_a_code(accounts: Accounts, clock: ManualClock) -> None:
    other = await accounts.log_in("ada", PASSWORD, ip_address=HOME)
    user_id, session_id, totp, _ = await enrolled(accounts, clock)
    assert await accounts.by_session(other.session_id) is None
    with pytest.raises(Conflict):
        await accounts.factors.enrol(user_id, "ada")
    with pytest.raises(NotAuthenticated):
        await accounts.switch_off(user_id, session_id, "123456")
    await accounts.switch_off(user_id, session_id, totp.at(clock.now()))
    assert await attempt(accounts, password=PASSWORD) == "OK"
    assert await accounts.by_session(session_id) is not None


async def test_a_code_is_fresh_for_ten_minutes_and_nobody_without_a_second_factor_is_asked(accounts: Accounts, clock: ManualClock) -> None:
    plain = await accounts.log_in("ada", PASSWORD, ip_address=HOME)

    async def needs_code(session_id: UUID) -> bool:
        principal = await accounts.by_session(session_id)
        assert principal is not None
        return principal.needs_code

    assert not await needs_code(plain.session_id)
    user_id, session_id, totp, _ = await enrolled(accounts, clock)
    assert not await needs_code(session_id), "its first code is two minutes old"
    clock.advance(timedelta(minutes=9))
    assert await needs_code(session_id)
    with pytest.raises(NotAuthenticated):
        await accounts.verify(user_id, session_id, "000000")
    assert await needs_code(session_id)
    await accounts.verify(user_id, session_id, totp.at(clock.now()))
    assert not await needs_code(session_id)
    clock.advance(timedelta(minutes=1))
    again = await accounts.log_in("ada", PASSWORD, otp=totp.at(clock.now()), ip_address=HOME)
    assert not await needs_code(again.session_id)


async def test_an_unconfirmed_second_factor_asks_nothing_of_anybody(accounts: Accounts) -> None:
    login = await accounts.log_in("ada", PASSWORD)
    first = await accounts.factors.enrol(login.user.id, "ada")
    second = await accounts.factors.enrol(login.user.id, "ada")
    assert first.secret != second.secret
    assert second.svg.startswith("<svg")
    assert "style" not in second.svg
    assert await attempt(accounts, password=PASSWORD) == "OK"


async def test_the_secret_is_stored_sealed(accounts: Accounts, clock: ManualClock, database: Database) -> None:
    _, _, totp, codes = await enrolled(accounts, clock)
    async with database.connection() as connection:
        rows = str([await connection.fetch(f"SELECT * FROM {table}") for table in ("second_factors", "recovery_codes")])
    assert "gAAAA" in rows
    assert not [secret for secret in (totp.secret, *codes) if secret in rows]


async def test_a_new_password_ends_all_other_logins_and_the_old_one(accounts: Accounts) -> None:
    here, there = [await accounts.log_in("ada", PASSWORD, ip_address=HOME) for _ in range(2)]
    with pytest.raises(InvalidInput, match="present password"):
        await accounts.change_password(here.user.id, here.session_id, current="wrong", new="another good sentence")
    assert await accounts.change_password(here.user.id, here.session_id, current=PASSWORD, new="another good sentence") == 1
    assert (await accounts.by_session(here.session_id) is not None, await accounts.by_session(there.session_id)) == (True, None)
    assert (await attempt(accounts, password=PASSWORD), await attempt(accounts, password="another good sentence")) == ("WRONG_LOGIN", "OK")


async def test_the_present_password_cannot_be_guessed_at_an_open_page(accounts: Accounts) -> None:
    here = await accounts.log_in("ada", PASSWORD, ip_address=HOME)
    codes = []
    for number in range(10):
        try:
            await accounts.change_password(here.user.id, here.session_id, current=f"guess {number}", new="x" * 20, ip_address=HOME)
        except AppError as error:
            codes.append(error.code)
    assert codes == ["INVALID_INPUT"] * 5 + ["TOO_MANY_ATTEMPTS"] * 5


@pytest.mark.parametrize(
    "password", ["1234567890", "qwertyuiop", "aaaaaaaaaaaa", "abababababab", "Password1234", "adaadaadaada", "0987654321", "poiuytrewq"]
)
async def test_a_password_among_the_first_guesses_is_refused(password: str) -> None:
    with pytest.raises(InvalidInput, match="first that are guessed"):
        check_new_password(password, username="ada")
    check_new_password("a long sentence of mine", username="ada")


async def test_an_ipv6_customer_does_not_fill_the_queue_of_strangers(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(*_: object) -> bool:
        begun.set()
        await go_on.wait()
        return False

    monkeypatch.setattr(accounts._hasher, "verify", slow)
    async with asyncio.TaskGroup() as tasks:
        for number in range(20):
            tasks.create_task(attempt(accounts, f"name-{number}", address=f"2001:db8:1:2::{number:x}"))
        await begun.wait()
        await asyncio.sleep(0.3)
        assert accounts._judge._strangers.waiting == 1
        go_on.set()
