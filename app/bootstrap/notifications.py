"""Builds notifications, and starts what tells and sends."""

from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from typing import Final
from uuid import UUID

from fastapi import FastAPI

from app.bootstrap.ground import Ground
from app.bootstrap.telling import Telling
from app.core.addresses import parse_allowed
from app.core.database_url import port_of
from app.core.i18n import N_
from app.core.leases import LeaseHolder
from app.core.outgoing import Outgoing
from app.core.supervisor import Supervisor
from app.notifications.deadman import Deadman, Switch
from app.notifications.messenger import Messenger
from app.notifications.sender import ROLE, Sender
from app.notifications.targets import Targets

_PRIVATE: Final = N_(
    "This server sends nothing inside its own network that its administrator has not allowed (NOTIFICATIONS_ALLOWED_HOSTS)."
)
_DEAD: Final = N_("a part of the server does not run: %(name)s")
_STALE: Final = N_("market data is not fresh")
_STUCK: Final = N_("the account %(name)s has not been compared with its exchange for more than ten minutes")
_STUCK_ACCOUNT: Final = """
SELECT b.name FROM trading_states s JOIN brokers b ON b.id::text = s.key
 WHERE s.code = 'RECONCILING' AND ($1::uuid IS NULL OR b.user_id = $1) AND b.removed_at IS NULL AND b.is_active
   AND s.set_at < $2::timestamptz - interval '10 minutes' LIMIT 1
"""


def make_notifications(app: FastAPI, ground: Ground, stack: AsyncExitStack) -> None:
    """Put what names, tries and sends on `app.state`; the feed is there already."""
    settings, state = ground.settings, app.state
    urls = (settings.database_url, settings.database_owner_url)
    outgoing = Outgoing(
        allowed=parse_allowed(settings.notifications_allowed_hosts, setting="NOTIFICATIONS_ALLOWED_HOSTS"),
        forbidden_ports={port_of(url.get_secret_value()) for url in urls if url is not None},
        private=_PRIVATE,
    )
    messenger = Messenger(outgoing)
    stack.callback(messenger.close)
    vault, lease = ground.keyring.vault, LeaseHolder(ground.database, ROLE)
    state.notification_outgoing = outgoing
    state.notification_targets = Targets(ground.database, messenger, vault, clock=ground.clock)
    state.sender = Sender(
        ground.database,
        messenger,
        vault,
        lease=lease,
        clock=ground.clock,
        per_minute=settings.notifications_per_minute,
        keep=timedelta(days=settings.notifications_keep_days),
        root=settings.public_url or "",
    )
    own = settings.deadman_url
    state.deadman = Deadman(
        ground.database,
        outgoing,
        vault,
        lease=lease,
        clock=ground.clock,
        ailing=partial(why_ailing, app, ground),
        server=None
        if own is None
        else Switch(url=own.get_secret_value(), minutes=settings.deadman_minutes, tells_failure=settings.deadman_tells_failure),
    )
    state.telling = Telling(ground.database, ground.bus, lease=lease, clock=ground.clock)


def start_notifications(app: FastAPI, ground: Ground, supervisor: Supervisor) -> None:
    """Listen in every process; send where this process's roles say so."""
    state = app.state
    supervisor.start("notifications.telling", state.telling.run, limit_s=60)
    if "engine" in ground.settings.roles:
        supervisor.start("notifications.lease", state.sender.lease.run)
        supervisor.start("notifications.sender", state.sender.run, limit_s=60)
        supervisor.start("notifications.deadman", state.deadman.run, limit_s=120)


async def why_ailing(app: FastAPI, ground: Ground, user_id: UUID | None) -> str | None:
    """Return why all is not well with this server, or for this user; None when it is. That the database answers, it shows by asking it."""
    for name, health in app.state.supervisor.health.items():
        if not health.is_alive:
            return _DEAD % {"name": name}
    if not (await app.state.feed.status()).is_fresh:
        return _STALE
    async with ground.database.connection() as connection:
        stuck = await connection.fetchval(_STUCK_ACCOUNT, user_id, ground.clock.now())
    return None if stuck is None else _STUCK % {"name": stuck}
