"""`aristobot demo`: everything at once, offline. An emulated exchange replays a market, the real server trades on it.

Two processes: the emulator, started from here, and this one with the server. Both end together; the data directory keeps users, orders,
the emulator's accounts and the market's place, so that the next start goes on where this one stopped.
"""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import structlog
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import select

from app.accounts.models import User
from app.bootstrap.ground import Announce
from app.brokers import service as brokers
from app.brokers.models import Broker
from app.brokers.schemas import BrokerIn
from app.brokers.testing import test_connection
from app.core.config import Registration, Settings
from app.core.tenancy import owned
from app.demo_bot import seed_bot
from app.errors import ConfigError
from app.main import Server, create_app, listen, run, say
from app.trading.portfolio import PortfolioLoop
from app.webhooks import service as webhooks
from app.webhooks.models import Webhook

log = structlog.get_logger(__name__)

_USERNAME: Final = "demo"
_BALANCE_USDT: Final = "100000"
_HISTORY_MINUTES: Final = 5 * 24 * 60
#: Of a market that is made up: for backtests, which ask the exchange for what is not stored.
_PAST_MINUTES: Final = 200 * 24 * 60
_EMULATOR_START_S: Final = 30.0
_EMULATOR_STOP_S: Final = 5.0
_FEED_S: Final = 30.0
_SHOWN_QUANTITY: Final = "0.01"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """What the command line says."""

    data_dir: Path
    port: int
    speed: float
    replay: Path | None
    symbol: str | None


def run_demo(options: DemoOptions, *, announce: Announce = say) -> None:
    """Run the demo until it is stopped.

    Raises:
        ConfigError: the port is taken, the replay file cannot be read, or the emulator does not start.
    """
    run(_demo(options, announce))


async def _demo(options: DemoOptions, announce: Announce) -> None:
    options.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    summary = options.data_dir / "demo.json"
    summary.unlink(missing_ok=True)
    kept = _kept(options.data_dir)
    listener = listen("127.0.0.1", options.port)
    port: int = listener.getsockname()[1]
    announce("Starting the emulated exchange, the database and the server …")
    async with _emulator(options) as emulator_url:
        symbols = await _open_account(emulator_url, kept)
        settings = _settings(options, port, emulator_url, symbols, kept)
        app = create_app(settings, announce=lambda _line: None)
        server = Server(app, settings)
        try:
            async with asyncio.TaskGroup() as group:
                serving = group.create_task(server.serve(sockets=[listener]), name="server")
                introducing = group.create_task(_introduce(app, server, serving, kept, summary, announce), name="introduction")
                await asyncio.wait({serving})
                # Whatever it was still preparing, there is no server any more for it.
                introducing.cancel()
        finally:
            summary.unlink(missing_ok=True)


def _settings(options: DemoOptions, port: int, emulator_url: str, symbols: list[str], kept: dict[str, str]) -> Settings:
    # Nothing of a `.env` or of the environment may reach a demo: it must never meet a real account.
    return Settings(
        _env_file=None,
        database_url=None,
        database_owner_url=None,
        jwt_secret=None,
        fernet_key=None,
        public_url=None,
        log_file=None,
        data_dir=options.data_dir,
        host="127.0.0.1",
        port=port,
        admin_user=_USERNAME,
        admin_password=SecretStr(kept["password"]),
        registration=Registration.OPEN,
        debug_aristobot=False,
        # A demo is looked at for a whole day without logging in again; it listens on loopback and holds no real money.
        access_token_minutes=12 * 60,
        session_idle_minutes=12 * 60,
        heartbeat_exchange="binance",
        heartbeat_symbols=tuple(symbols),
        heartbeat_history_minutes=_HISTORY_MINUTES,
        binance_rest_url=emulator_url,
        binance_stream_url=emulator_url.replace("http://", "ws://", 1),
        binance_ws_api_url=emulator_url.replace("http://", "ws://", 1) + "/ws-api/v3",
        equity_interval_s=15.0,
        roles=("web", "heartbeat", "engine", "backtests"),
    )


def _kept(data_dir: Path) -> dict[str, str]:
    """The demo's own secrets, made once: they open nothing but this play account."""
    path = data_dir / "demo-secrets.json"
    kept: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    made = {name: secrets.token_urlsafe(12) for name in ("password", "api_key", "api_secret") if name not in kept}
    if made:
        kept |= made
        _write(path, kept)
    return kept


def _write(path: Path, value: dict[str, Any]) -> None:
    fresh = path.with_suffix(f".{os.getpid()}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(value, file, indent=2)
        file.write("\n")
    fresh.replace(path)


@asynccontextmanager
async def _emulator(options: DemoOptions) -> AsyncIterator[str]:
    """The emulator's process, in a session of its own so that Ctrl-C reaches this process alone and the order of stopping is ours."""
    past = _PAST_MINUTES if options.replay is None else _HISTORY_MINUTES
    arguments = ["--speed", str(options.speed), "--history", str(past), "--parent-pid", str(os.getpid())]
    arguments += ["--state", str(options.data_dir / "emulator.json")]
    if options.replay is not None:
        arguments += ["--replay", str(options.replay)]
    if options.symbol is not None:
        arguments += ["--symbol", options.symbol]
    log_path = options.data_dir / "emulator.log"
    with log_path.open("ab") as log_file:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "app.emulator", *arguments, stdout=asyncio.subprocess.PIPE, stderr=log_file, start_new_session=True
        )
    try:
        yield await _ready(process, log_path)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), _EMULATOR_STOP_S)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _ready(process: asyncio.subprocess.Process, log_path: Path) -> str:
    assert process.stdout is not None  # noqa: S101  # asked for above
    line = await asyncio.wait_for(process.stdout.readline(), _EMULATOR_START_S)
    if not line:
        said = await asyncio.to_thread(log_path.read_text, errors="replace")
        words = said.strip().splitlines()
        raise ConfigError(f"the emulated exchange did not start: {words[-1] if words else 'it said nothing'}")
    url: str = json.loads(line)["url"]
    return url


async def _open_account(emulator_url: str, kept: dict[str, str]) -> list[str]:
    """Make the play account unless it is there already, and return the symbols that are traded."""
    async with httpx.AsyncClient(base_url=emulator_url, timeout=10, trust_env=False) as client:
        state = (await client.get("/_state")).json()
        known = {account["api_key"] for account in state["accounts"]}
        if kept["api_key"] not in known:
            account = {"api_key": kept["api_key"], "api_secret": kept["api_secret"], "balances": {"USDT": _BALANCE_USDT}}
            (await client.post("/_accounts", json=account)).raise_for_status()
        listed = (await client.get("/api/v3/exchangeInfo")).json()["symbols"]
    return [f"{symbol['baseAsset']}/{symbol['quoteAsset']}" for symbol in listed]


async def _introduce(
    app: FastAPI, server: Server, serving: "asyncio.Task[None]", kept: dict[str, str], summary: Path, announce: Announce
) -> None:
    """Once the server runs: the demo's account and webhook, the feed's first price, then the words on the terminal."""
    while not server.started:
        if serving.done():
            return
        await asyncio.sleep(0.02)
    base = f"http://127.0.0.1:{app.state.settings.port}"
    seeded = await _seed(app, kept)
    secret = kept.get("webhook_secret") or seeded["secret"]
    if secret != kept.get("webhook_secret"):
        kept["webhook_secret"] = secret
        _write(summary.parent / "demo-secrets.json", kept)
    await _wait_for_feed(app, serving)
    symbol = app.state.settings.heartbeat_symbols[0]
    facts = {
        "url": base,
        "username": _USERNAME,
        "password": kept["password"],
        "broker_id": seeded["broker_id"],
        "webhook_url": f"{base}/hooks/{secret}",
        "webhook_id": seeded["webhook_id"],
        "symbol": symbol,
        "emulator_url": app.state.settings.binance_rest_url,
        "pid": os.getpid(),
    }
    _write(summary, facts)
    announce(_banner(facts))
    # Afterwards: validating its strategy takes some seconds, which nobody should wait for.
    await seed_bot(app, seeded["user_id"], _USERNAME)


def _banner(facts: dict[str, Any]) -> str:
    alert = json.dumps({"ticker": facts["symbol"].replace("/", ""), "action": "buy", "quantity": _SHOWN_QUANTITY})
    return f"""
Aristobot is running with play money on an emulated exchange.

  Open     {facts["url"]}
  Log in   {facts["username"]} / {facts["password"]}

A bot trades on a paper account by itself: watch it under Bots. Send an alert as TradingView would, and watch it become an order:

  curl -X POST {facts["webhook_url"]} -H 'Content-Type: application/json' -d '{alert}'

Ctrl-C stops everything."""


async def _seed(app: FastAPI, kept: dict[str, str]) -> dict[str, Any]:
    """The demo's broker account and webhook; what is there already stays. A lost address is replaced by a new one."""
    state = app.state
    now = state.clock.now()
    async with state.platform_database.transaction() as session:
        user = (await session.scalars(select(User).where(User.username == _USERNAME))).one()
        account = await session.scalar(owned(Broker, user.id).where(Broker.removed_at.is_(None)).order_by(Broker.created_at))
        if account is None:
            given = BrokerIn(
                exchange="binance",
                name="Demo account",
                description="Play money on the emulated exchange",
                api_key=SecretStr(kept["api_key"]),
                api_secret=SecretStr(kept["api_secret"]),
            )
            account = await brokers.create_broker(session, state.vault, user.id, given)
        hook = await session.scalar(owned(Webhook, user.id).where(Webhook.removed_at.is_(None)).order_by(Webhook.created_at))
        secret = None
        if hook is None:
            created = await webhooks.create_webhook(session, user.id, name="TradingView", broker_id=None, now=now)
            hook, secret = created.webhook, created.secret
            kept.pop("webhook_secret", None)
        elif "webhook_secret" not in kept:
            secret = (await webhooks.rotate_secret(session, user.id, hook.id, now=now)).secret
    await test_connection(state.platform_database, state.connections, user.id, account.id, now=now)
    return {"broker_id": str(account.id), "webhook_id": str(hook.id), "secret": secret, "user_id": user.id}


async def _wait_for_feed(app: FastAPI, serving: "asyncio.Task[None]") -> None:
    """Until the live feed brings prices, the engine role is ours and the account is valued: a demo that says it is up trades at once."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _FEED_S
    symbol = app.state.settings.heartbeat_symbols[0]
    portfolio = PortfolioLoop(app.state.desk, interval_s=app.state.settings.equity_interval_s)
    while loop.time() < deadline and not serving.done():
        if app.state.quotes.latest(symbol) is not None and app.state.desk.lease.is_held:
            if await _has_equity(app):
                return
            # The account is younger than the loop's last round; nobody should wait for the next one.
            await portfolio.refresh(None)
        await asyncio.sleep(0.05)


async def _has_equity(app: FastAPI) -> bool:
    """Whether the account was valued once: today's profit is counted from there."""
    async with app.state.platform_database.connection() as connection:
        return await connection.fetchval("SELECT 1 FROM equity_snapshots LIMIT 1") is not None


def free_port(preferred: int) -> int:
    """Return `preferred`, or 0 (any free one) when it is taken."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", preferred))
        except OSError:
            return 0
    return preferred
