"""Builds what concerns logins."""

from datetime import timedelta

from fastapi import FastAPI

from app.accounts.development import DevelopmentMode
from app.accounts.service import Accounts, SessionPolicy
from app.bootstrap.ground import Announce, Ground
from app.core.clock import Clock
from app.core.config import Settings
from app.core.db import Database
from app.core.keyring import Keyring
from app.core.security import PasswordHasher


def make_service(settings: Settings, jwt_secret: str, keyring: Keyring, database: Database, clock: Clock) -> Accounts:
    """Return the service of accounts as the settings want it."""
    policy = SessionPolicy(
        token_lifetime=settings.access_token_lifetime,
        idle=timedelta(minutes=settings.session_idle_minutes),
        absolute=timedelta(hours=settings.session_hours),
    )
    return Accounts(
        database,
        clock,
        hasher=PasswordHasher(),
        policy=policy,
        jwt_secret=jwt_secret,
        vault=keyring.vault,
        registrations_per_hour=settings.registrations_per_hour,
    )


async def ensure_first_administrator(accounts: Accounts, settings: Settings, announce: Announce) -> None:
    """Make the first account of an empty server, and say its password if it was made up."""
    given = settings.admin_password.get_secret_value() if settings.admin_password else None
    made = await accounts.ensure_admin(settings.admin_user, given)
    if made is not None:
        announce(f"Log in as {settings.admin_user} with the password {made} — it is shown this once and stored only as a hash.")


async def make_accounts(app: FastAPI, ground: Ground, announce: Announce) -> None:
    """Put what concerns logins on `app.state`."""
    settings = ground.settings
    accounts = make_service(settings, ground.jwt_secret, ground.keyring, ground.database, ground.clock)
    await ensure_first_administrator(accounts, settings, announce)
    state = app.state
    state.settings = settings
    state.jwt_secret, state.keyring = ground.jwt_secret, ground.keyring
    state.database, state.platform_database = ground.tenants, ground.database
    state.bus = ground.bus
    state.clock = ground.clock
    state.accounts = accounts
    state.development = DevelopmentMode(ground.database, ground.clock, accounts, is_offered=settings.debug_aristobot)
    await state.development.start()
