"""Passwords (bcrypt), bearer tokens (JWT) and opaque session tokens."""

import asyncio
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import bcrypt
from jose import JWTError, jwt

from app.core.i18n import N_
from app.core.ids import new_id
from app.errors import InvalidInput, NotAuthenticated

ALGORITHM: Final = "HS256"
_ISSUER: Final = "aristobot"
_AUDIENCE: Final = "aristobot-api"
_CHALLENGE: Final = "aristobot-second-factor"
TOOK_TOO_LONG: Final = N_("That took too long. Log in again.")
_LONGEST_PASSWORD_BYTES: Final = 72
_SHORTEST_PASSWORD: Final = 10
_COST: Final = 12
_DUMMY_SALT_AND_DIGEST: Final = "$ZwvgORuAqu3wm5/A0JGwDOK2aVN3bTM.1qZLrChY7yYxt2WTUNR0S"


class PasswordHasher:
    """bcrypt off the event loop, a few at a time: one hash is a quarter of a second of CPU, so many would stop the server."""

    def __init__(self, *, cost: int = _COST, at_once: int = 2) -> None:
        self._cost = cost
        self._semaphore = asyncio.Semaphore(at_once)
        # Checked for names that do not exist, so that their answer takes as long as a wrong password.
        self._dummy = f"$2b${cost:02d}{_DUMMY_SALT_AND_DIGEST}".encode("ascii")

    async def hash(self, password: str) -> str:
        """Return the hash of a new password.

        Raises:
            InvalidInput: it is too short, or longer than the 72 bytes that bcrypt reads.
        """
        if len(password) < _SHORTEST_PASSWORD:
            raise InvalidInput(f"a password needs at least {_SHORTEST_PASSWORD} characters, was {len(password)}", field="password")
        encoded = _encoded(password)
        if len(encoded) > _LONGEST_PASSWORD_BYTES:
            raise InvalidInput(f"a password may have at most {_LONGEST_PASSWORD_BYTES} bytes, was {len(encoded)}", field="password")
        async with self._semaphore:
            hashed = await asyncio.to_thread(bcrypt.hashpw, encoded, bcrypt.gensalt(self._cost))
        return hashed.decode("ascii")

    async def verify(self, password: str, hashed: str | None) -> bool:
        """Tell whether `password` is the one; False, after the same time, when there is no hash to compare with."""
        encoded = _encoded(password)
        usable = hashed is not None and len(encoded) <= _LONGEST_PASSWORD_BYTES
        reference = hashed.encode("ascii") if usable and hashed is not None else self._dummy
        async with self._semaphore:
            matches = await asyncio.to_thread(bcrypt.checkpw, encoded[:_LONGEST_PASSWORD_BYTES], reference)
        return usable and matches


def _encoded(password: str) -> bytes:
    # JSON can escape half a surrogate pair, which UTF-8 has no bytes for; it is some password all the same.
    return password.encode(errors="surrogatepass")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """What a valid bearer token says."""

    user_id: UUID
    session_id: UUID
    expires_at: int


def encode_token(secret: str, *, user_id: UUID, session_id: UUID, now: datetime, lifetime: timedelta) -> str:
    """Return a signed bearer token."""
    claims = {
        "sub": str(user_id),
        "sid": str(session_id),
        "jti": str(new_id()),
        "typ": "access",
        "aud": _AUDIENCE,
        "iss": _ISSUER,
        "iat": int(now.timestamp()),
        "exp": int((now + lifetime).timestamp()),
    }
    token: str = jwt.encode(claims, secret, algorithm=ALGORITHM)
    return token


def decode_token(secret: str, token: str) -> AccessToken:
    """Return what `token` says.

    Raises:
        NotAuthenticated: forged, expired, for another audience, or not an access token. The message does not say which.
    """
    try:
        claims = jwt.decode(
            token,
            secret,
            algorithms=[ALGORITHM],
            audience=_AUDIENCE,
            issuer=_ISSUER,
            options={f"require_{claim}": True for claim in ("exp", "iat", "sub", "aud", "iss", "jti")},
        )
        if claims.get("typ") != "access":
            raise NotAuthenticated("the bearer token is not valid")
        return AccessToken(user_id=UUID(claims["sub"]), session_id=UUID(claims["sid"]), expires_at=int(claims["exp"]))
    except (JWTError, KeyError, ValueError, TypeError) as error:
        raise NotAuthenticated("the bearer token is not valid or has expired; log in again") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """Who gave the right password a moment ago, and which password that was (`password_stamp`)."""

    user_id: UUID
    password: str


def password_stamp(password_hash: str | None) -> str:
    """Return what tells one password of a user from the next, and nothing else about it: the hash is salted and slow."""
    return hashlib.sha256((password_hash or "").encode()).hexdigest()[:16]


def encode_challenge(secret: str, challenge: Challenge, *, now: datetime, lifetime: timedelta) -> str:
    """Return a signed word that this user has given the right password a moment ago; it is no bearer token."""
    claims = {
        "sub": str(challenge.user_id),
        "pwd": challenge.password,
        "aud": _CHALLENGE,
        "iss": _ISSUER,
        "exp": int((now + lifetime).timestamp()),
    }
    token: str = jwt.encode(claims, secret, algorithm=ALGORITHM)
    return token


def decode_challenge(secret: str, token: str, *, now: datetime) -> Challenge:
    """Return whose password was right.

    Raises:
        NotAuthenticated: forged or too old.
    """
    options = {"verify_exp": False, **{f"require_{claim}": True for claim in ("sub", "aud", "iss")}}
    try:
        claims = jwt.decode(token, secret, algorithms=[ALGORITHM], audience=_CHALLENGE, issuer=_ISSUER, options=options)
        if int(claims["exp"]) > now.timestamp():
            return Challenge(user_id=UUID(claims["sub"]), password=str(claims["pwd"]))
    except (JWTError, KeyError, ValueError, TypeError) as error:
        raise NotAuthenticated(TOOK_TOO_LONG) from error
    raise NotAuthenticated(TOOK_TOO_LONG)


def new_secret() -> str:
    """Return 256 random bits as text, for a URL or a cookie."""
    return secrets.token_urlsafe(32)


def fingerprint(secret: str) -> bytes:
    """Return what is stored in place of a random secret. A fast hash is right: 256 random bits cannot be guessed."""
    return hashlib.sha256(secret.encode()).digest()


def csrf_token(jwt_secret: str, session_id: UUID) -> str:
    """Return the token that a page of this session must send with every change."""
    return hmac.new(jwt_secret.encode(), b"csrf:" + session_id.bytes, hashlib.sha256).hexdigest()


def same(left: str, right: str) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(left.encode(), right.encode())
