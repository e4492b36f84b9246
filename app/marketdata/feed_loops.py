"""The loops around the live feed: the feed itself and the comparison of its candles in one process at a time, the watch over it in all."""

from datetime import timedelta
from typing import Final

from app.core.clock import Clock
from app.core.config import Settings
from app.core.db import Database
from app.core.events import EventBus
from app.core.leases import LeaseHolder
from app.core.metrics import Metrics
from app.core.supervisor import Supervisor
from app.exchanges.registry import Registry
from app.marketdata.check_loop import CheckConfig, CheckLoop
from app.marketdata.feed_alerts import AlertWatch
from app.marketdata.feed_health import FeedReader
from app.marketdata.heartbeat import Heartbeat
from app.marketdata.retention import Retention

#: How long a close may be overdue beyond two intervals before anybody is told; the feed has fetched it by then if it can be had.
_PATIENCE: Final = timedelta(seconds=3)


async def start_feed(
    settings: Settings,
    supervisor: Supervisor,
    metrics: Metrics,
    *,
    feed: FeedReader,
    heartbeat: Heartbeat,
    registry: Registry,
    database: Database,
    bus: EventBus,
    clock: Clock,
) -> None:
    """Start what this process's roles ask for."""
    exchange = settings.heartbeat_exchange
    supervisor.start("heartbeat.alerts", AlertWatch(feed, database=database, bus=bus, patience=_PATIENCE).run, limit_s=60)
    if "heartbeat" not in settings.roles:
        return
    registry.keep_clock(exchange)
    lease = LeaseHolder(database, f"heartbeat:{exchange}")
    await lease.renew()
    supervisor.start("heartbeat.lease", lease.run)
    supervisor.start("heartbeat", lease.guarding(heartbeat.run))
    # Each time it is started an emulator has another past.
    config = CheckConfig(exchange=exchange, share=settings.candle_check_share, not_before=clock.now() if settings.is_simulated else None)
    check = CheckLoop(config, feed=heartbeat, registry=registry, database=database, bus=bus, clock=clock)
    metrics.read("candles_compared_total", "Stored candles compared with others.", values=lambda: [((), check.compared)], kind="counter")
    supervisor.start("heartbeat.check", lease.guarding(check.run), limit_s=180)
    if settings.candles_keep_months:
        retention = Retention(database, keep_months=settings.candles_keep_months)
        supervisor.start("candles.retention", lease.guarding(retention.run), limit_s=120)
