"""Builds what runs strategies: the jail, and who writes down what happened in it."""

import resource
import sys
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

from fastapi import FastAPI

from app.accounts.audit_log import Action, Result, note
from app.bootstrap.ground import Ground
from app.core.config import Settings
from app.core.db import Database
from app.sandbox.jail import Jail
from app.sandbox.lock import kernel
from app.sandbox.metrics import publish_jail
from app.sandbox.quotas import Limits
from app.sandbox.terms import JailConfig
from app.sandbox.violations import Violation

_MINUTE_S: Final = 60


def make_jail(app: FastAPI, ground: Ground, stack: AsyncExitStack) -> None:
    """Put the jail on `app.state`. Nothing is started: its loop does that once somebody wants a strategy to run."""
    app.state.jail = Jail(jail_config(ground.settings), on_violation=partial(_write_down, ground.database))
    publish_jail(app.state.metrics, app.state.jail)


def jail_config(settings: Settings) -> JailConfig:
    """Return how the settings want the jail."""
    return JailConfig(
        socket_path=settings.sandbox_socket,
        trusts_strategies=settings.trust_strategies,
        limits=Limits(
            workers=settings.strategies_per_user,
            backtests=settings.backtests_per_user,
            cpu_s_a_day=settings.strategy_cpu_minutes_a_day * _MINUTE_S,
            all_workers=settings.strategies_at_once,
        ),
        call_s=settings.strategy_call_ms / 1000,
        run_s=settings.strategy_run_s,
        backtests_at_once=settings.backtests_at_once,
    )


def close_memory() -> None:
    """Keep other processes of the same user out of this one's memory, environment and descriptors, and its keys out of core files.

    Where sandboxd cannot give workers users of their own this is what stands between an escaped strategy and the keys.
    """
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)


async def _write_down(database: Database, violation: Violation) -> None:
    async with database.connection() as connection:
        await note(
            connection,
            Action.STRATEGY_KILLED,
            user_id=violation.user_id,
            object=f"strategy:{violation.strategy}" if violation.strategy else "",
            result=Result.REFUSED,
            detail={
                "purpose": violation.purpose.value,
                "cause": violation.cause.value,
                "signal": violation.signal,
                "what": violation.detail,
                "is_paused": violation.is_paused,
            },
        )
