"""The second factor: a code of an authenticator app (TOTP), or one of ten recovery codes that each work once.

Enrolling has two steps: the secret is stored unconfirmed, and counts from the first right code on. A code works once, also within its half
minute. The secret is sealed; recovery codes are stored as digests.
"""

import hashlib
import io
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import pyotp
import segno

from app.accounts.audit_log import Action, note
from app.accounts.sessions import end_others
from app.core.clock import Clock
from app.core.crypto import Vault
from app.core.db import Database
from app.core.i18n import N_
from app.core.ids import new_id
from app.errors import Conflict, NotAuthenticated

ISSUER: Final = "Aristobot"
#: Seconds of a step, and how many steps before and after the present one are taken: clocks differ.
_STEP_S: Final = 30
_WINDOW: Final = 1
_CODES: Final = 10
#: Without letters and digits that look alike.
_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"
THERE_ALREADY: Final = N_("Your account has a second factor already. Switch it off first.")
NOT_BEGUN: Final = N_("Begin by showing the picture for your authenticator app.")
_WRONG: Final = N_("The code is wrong, or it was used before.")
_READ: Final = "SELECT secret, confirmed_at, last_step FROM second_factors WHERE user_id = $1"
_ENROL: Final = """
INSERT INTO second_factors (user_id, secret, created_at) VALUES ($1, $2, $3)
ON CONFLICT (user_id) DO UPDATE SET secret = excluded.secret, created_at = excluded.created_at, last_step = NULL
 WHERE second_factors.confirmed_at IS NULL RETURNING user_id
"""
_USE_STEP: Final = """
UPDATE second_factors SET last_step = $2 WHERE user_id = $1 AND (last_step IS NULL OR last_step < $2) RETURNING user_id
"""
_CONFIRM: Final = "UPDATE second_factors SET confirmed_at = coalesce(confirmed_at, $2) WHERE user_id = $1"
_USE_RECOVERY: Final = """
UPDATE recovery_codes SET used_at = $3 WHERE user_id = $1 AND code_hash = $2 AND used_at IS NULL RETURNING id
"""
_NEW_CODES: Final = "INSERT INTO recovery_codes (id, user_id, code_hash) SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bytea[])"


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """What an authenticator app needs: the secret as text, and the same as an address and as a QR code (SVG)."""

    secret: str
    address: str
    svg: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorState:
    """Whether a user has a second factor, and how many recovery codes are left."""

    is_on: bool
    recovery_codes: int


class SecondFactors:
    """The second factors of all users."""

    def __init__(self, database: Database, vault: Vault, clock: Clock) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock

    async def state(self, user_id: UUID) -> FactorState:
        """Return whether the user must give a code when logging in."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_READ, user_id)
            left = await connection.fetchval("SELECT count(*) FROM recovery_codes WHERE user_id = $1 AND used_at IS NULL", user_id)
        return FactorState(is_on=row is not None and row["confirmed_at"] is not None, recovery_codes=left)

    async def enrol(self, user_id: UUID, username: str) -> Enrolment:
        """Make a new secret, which counts from its first right code on.

        Raises:
            Conflict: there is a second factor already.
        """
        secret = pyotp.random_base32()
        sealed = self._vault.seal(secret, context=_context(user_id)).decode("ascii")
        async with self._database.connection() as connection:
            if await connection.fetchval(_ENROL, user_id, sealed, self._clock.now()) is None:
                raise Conflict(THERE_ALREADY)
        return picture_of(secret, username)

    async def confirm(self, user_id: UUID, session_id: UUID, code: str) -> list[str]:
        """Switch the second factor on by a first right code, end all other logins, and return the recovery codes: this once.

        Raises:
            NotAuthenticated: the code is wrong.
            Conflict: nothing was begun, or it is on already.
        """
        now = self._clock.now()
        async with self._database.raw_transaction() as connection:
            row = await connection.fetchrow(f"{_READ} FOR UPDATE", user_id)
            if row is None or row["confirmed_at"] is not None:
                raise Conflict(NOT_BEGUN)
            await self._use(connection, user_id, row, code)
            await connection.execute(_CONFIRM, user_id, now)
            await connection.execute("UPDATE user_sessions SET verified_at = $2 WHERE id = $1", session_id, now)
            await note(connection, Action.SECOND_FACTOR_ON, user_id=user_id)
            await end_others(connection, user_id, session_id, now=now)
            return await self._make_codes(connection, user_id)

    async def check(self, user_id: UUID, code: str) -> None:
        """Use up a code of the app or a recovery code.

        Raises:
            NotAuthenticated: it is wrong, or was used before.
        """
        async with self._database.raw_transaction() as connection:
            await self._check(connection, user_id, code)

    async def renew_codes(self, user_id: UUID, code: str) -> list[str]:
        """Replace all recovery codes. Raises as `check`."""
        async with self._database.raw_transaction() as connection:
            await self._check(connection, user_id, code)
            return await self._make_codes(connection, user_id)

    async def switch_off(self, user_id: UUID, session_id: UUID, code: str) -> int:
        """Forget the second factor and end all other logins; return how many those were. Raises as `check`.

        A recovery code will do: whoever lost the telephone must be able to begin anew with the next one.
        """
        async with self._database.raw_transaction() as connection:
            await self._check(connection, user_id, code)
            await connection.execute("DELETE FROM recovery_codes WHERE user_id = $1", user_id)
            await connection.execute("DELETE FROM second_factors WHERE user_id = $1", user_id)
            await note(connection, Action.SECOND_FACTOR_OFF, user_id=user_id)
            return await end_others(connection, user_id, session_id, now=self._clock.now())

    async def _check(self, connection: Any, user_id: UUID, code: str) -> None:
        row = await connection.fetchrow(f"{_READ} FOR UPDATE", user_id)
        if row is None or row["confirmed_at"] is None:
            raise NotAuthenticated(_WRONG, code="WRONG_OTP")
        if await connection.fetchval(_USE_RECOVERY, user_id, _digest(user_id, code), self._clock.now()) is None:
            await self._use(connection, user_id, row, code)

    async def _use(self, connection: Any, user_id: UUID, row: Any, code: str) -> None:
        secret = self._vault.open(row["secret"].encode("ascii"), context=_context(user_id))
        step = _step_of(secret, code, self._clock.now())
        if step is None or await connection.fetchval(_USE_STEP, user_id, step) is None:
            raise NotAuthenticated(_WRONG, code="WRONG_OTP")

    @staticmethod
    async def _make_codes(connection: Any, user_id: UUID) -> list[str]:
        codes = ["-".join("".join(secrets.choice(_LETTERS) for _ in range(5)) for _ in range(2)) for _ in range(_CODES)]
        await connection.execute("DELETE FROM recovery_codes WHERE user_id = $1", user_id)
        await connection.execute(
            _NEW_CODES, [new_id() for _ in codes], [user_id for _ in codes], [_digest(user_id, code) for code in codes]
        )
        return codes


def picture_of(secret: str, username: str) -> Enrolment:
    """Return what an authenticator app reads."""
    address = pyotp.TOTP(secret).provisioning_uri(name=username, issuer_name=ISSUER)
    picture = io.BytesIO()
    segno.make(address, error="m").save(picture, kind="svg", scale=4, border=2, xmldecl=False, svgns=True)
    return Enrolment(secret=secret, address=address, svg=picture.getvalue().decode())


def _context(user_id: UUID) -> str:
    return f"user:{user_id}:second_factor"


def _step_of(secret: str, code: str, now: datetime) -> int | None:
    """Return the step that `code` belongs to, if it is one of those that are taken now."""
    digits = code.replace(" ", "")
    present = int(now.timestamp()) // _STEP_S
    totp = pyotp.TOTP(secret)
    for step in range(present - _WINDOW, present + _WINDOW + 1):
        if secrets.compare_digest(totp.generate_otp(step).encode(), digits.encode(errors="replace")):
            return step
    return None


def _digest(user_id: UUID, code: str) -> bytes:
    """Fifty random bits: a fast hash is enough, for guesses are counted, and the user's id keeps one table from serving for all."""
    letters = code.strip().lower().replace("-", "").replace(" ", "")
    return hashlib.sha256(user_id.bytes + letters.encode(errors="surrogatepass")).digest()
