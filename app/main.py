"""The ASGI entry: `create_app` mounts routers, middleware and error handlers. No logic."""

import asyncio
import gc
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.security import HTTPBearer

from app import __version__
from app.accounts.admin_router import router as admin_router
from app.accounts.dependencies import current_user
from app.accounts.metrics_router import router as metrics_router
from app.accounts.router import router as accounts_router
from app.accounts.security_router import router as security_router
from app.accounts.tokens_router import router as tokens_router
from app.backtests.robustness.router import router as robustness_router
from app.backtests.router import router as backtests_router
from app.backtests.search.router import router as searches_router
from app.bootstrap import running
from app.bootstrap.ground import Announce
from app.bots.router import router as bots_router
from app.bots.safeguard_router import router as safeguards_router
from app.brokers.router import router as brokers_router
from app.core.config import Settings
from app.core.http import describe_problems, install_error_handlers
from app.core.middleware import BodyLimit, HostGuard, NoTrailingSlash, OriginGuard, RequestShell
from app.errors import ConfigError, KeyMissing
from app.marketdata.heartbeat_router import router as heartbeat_router
from app.marketdata.router import router as marketdata_router
from app.marketdata.symbols_router import router as symbols_router
from app.notifications.router import router as notifications_router
from app.shadow.lines import read_lines
from app.shadow.router import router as shadow_router
from app.statistics.router import router as statistics_router
from app.strategies.assistant_router import router as assistant_router
from app.strategies.router import router as strategies_router
from app.strategies.trials_router import router as trials_router
from app.strategies.versions_router import router as versions_router
from app.trading.history_router import router as history_router
from app.trading.kill_router import router as kill_router
from app.trading.market_router import router as market_router
from app.trading.oversight_router import router as oversight_router
from app.trading.portfolio_router import router as portfolio_router
from app.trading.protection_router import router as protection_router
from app.trading.risk_router import router as risk_router
from app.trading.router import router as trading_router
from app.trading.symbols_router import router as account_symbols_router
from app.trading.ticket_router import router as ticket_router
from app.trading.worth import FeeMemory
from app.ui.errors import render_failure
from app.ui.routes import mount_pages
from app.webhooks.attempts_router import router as attempts_router
from app.webhooks.log_router import router as webhook_log_router
from app.webhooks.router import door
from app.webhooks.router import router as webhooks_router

if sys.platform == "win32":
    new_event_loop = None  # asyncio's own
else:
    from uvloop import new_event_loop

health = APIRouter(tags=["health"])

#: Fixed paths come before ids.
_RESULTS = (portfolio_router, statistics_router)
_SAFETY = (protection_router, risk_router, kill_router)
_WEBHOOKS = (attempts_router, webhook_log_router, webhooks_router)
_STRATEGIES = (assistant_router, trials_router, versions_router, strategies_router)
#: The fixed paths of the first come before the ids of the second.
_BOTS = (safeguards_router, bots_router)
_BACKTESTS = (backtests_router, robustness_router, searches_router, shadow_router)
#: Shows "Authorize" in /docs; who is asking is decided by accounts.dependencies.
_BEARER = Depends(HTTPBearer(auto_error=False, description="From POST /api/auth/login, or an API token from POST /api/auth/tokens"))


@health.get("/healthz", summary="The process answers")
async def healthz() -> dict[str, str]:
    """Return that this process is alive."""
    return {"status": "alive", "version": __version__}


@health.get("/readyz", summary="Every loop beats and the database answers")
async def readyz(request: Request, response: Response) -> dict[str, object]:
    """Return how each background loop is doing; 503 when one is silent, the database does not answer, or the encryption key is missing."""
    supervisor = request.app.state.supervisor
    async with request.app.state.database.connection() as connection:
        await connection.fetchval("SELECT 1")
    loops = {
        name: {"alive": health.is_alive, "age_s": round(health.age_s, 1), "restarts": health.restarts}
        for name, health in supervisor.health.items()
    }
    state = request.app.state
    missing = None if state.keyring.is_whole else {"code": KeyMissing.default_code, "fingerprint": state.keyring.vault.sealing}
    is_ready = all(health.is_alive for health in supervisor.health.values()) and missing is None
    response.status_code = 200 if is_ready else 503
    return {
        "status": "ready" if is_ready else "unwell",
        "closed": missing,
        "jail": state.jail.summary(),
        "bots": state.bot_engine.summary(),
        "loops": loops,
        "is_engine": state.desk.lease.is_held,
        "loop_lag_ms": {"last": round(state.loop_lag.last_ms), "max": round(state.loop_lag.max_ms)},
        "exchanges": [{"exchange": gauge.exchange, "circuit": gauge.circuit, "until": gauge.until} for gauge in state.registry.limits()],
    }


def say(line: str) -> None:
    """Tell the person at the terminal something that belongs in no log."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens there, before anything slow is started.

    Raises:
        ConfigError: the port is taken or the address is not this machine's.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}. Choose another with --port.") from error
    listener.listen(2048)
    listener.set_inheritable(True)
    return listener


class Server(uvicorn.Server):
    """uvicorn, which stops in order: open event streams end at the signal, and the signal is not raised again afterwards."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                lifespan="on",
                log_config=None,
                access_log=False,
                ws="none",
                server_header=False,
                proxy_headers=bool(settings.trusted_proxies),
                forwarded_allow_ips=settings.proxies,
                timeout_graceful_shutdown=5,
            )
        )
        self._stopping: asyncio.Event = app.state.stopping

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGINT and SIGTERM. Overrides uvicorn's, which would raise the signal again and skip what its caller must clean up."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop, number)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and take what the start has made out of the garbage collector's sight. Overrides uvicorn's.

        Modules, routes and models live as long as the process, and looking through them all stops the loop for 160 ms each time, and the
        process for a second when it ends.
        """
        await super().startup(sockets)
        gc.freeze()

    def _stop(self, number: int) -> None:
        self._stopping.set()
        self.handle_exit(number, None)


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` to its end on the fastest event loop there is; it answers half again as many requests as asyncio's own."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(work)


def create_app(settings: Settings | None = None, *, announce: Announce = say) -> FastAPI:
    """Return the application; everything behind it starts with its lifespan."""
    chosen = settings or Settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with running(app, chosen, announce):
            yield

    app = FastAPI(
        title="Aristobot",
        version=__version__,
        summary="Self-hosted crypto trading: alerts, orders, positions.",
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,  # ours asks who wants to see it
    )
    app.state.settings = chosen
    app.state.stopping = asyncio.Event()
    app.state.page_streams = Counter()
    app.state.fees = FeeMemory()
    app.state.shadow_reader = read_lines
    app.include_router(door)  # first: routes are tried in order, and alerts are in a hurry
    for router in (
        accounts_router,
        security_router,
        tokens_router,
        admin_router,
        brokers_router,
        account_symbols_router,
        market_router,
        oversight_router,
        history_router,  # its fixed paths come before the ids of the next
        ticket_router,
        trading_router,
        *_RESULTS,
        *_SAFETY,
        notifications_router,
        *_WEBHOOKS,
        *_STRATEGIES,
        *_BACKTESTS,
        *_BOTS,
    ):
        app.include_router(router, dependencies=[_BEARER])
    for router in (marketdata_router, heartbeat_router, symbols_router):
        app.include_router(router, dependencies=[_BEARER, Depends(current_user)])
    app.include_router(health)
    app.include_router(metrics_router, dependencies=[_BEARER])
    mount_pages(app)
    install_error_handlers(app, render_failure)
    describe_problems(app)
    # The last one added is the outermost.
    app.add_middleware(BodyLimit)
    app.add_middleware(OriginGuard)
    app.add_middleware(NoTrailingSlash)
    app.add_middleware(HostGuard, named=chosen.own_names)
    app.add_middleware(RequestShell)
    return app
