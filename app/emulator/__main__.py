"""`python -m app.emulator`: one emulator process.

Prints one JSON line when it is ready, and at the end of a scenario one with the verdict; everything else goes to stderr.
"""

import argparse
import asyncio
import os
import sys
from datetime import UTC, datetime
from decimal import Decimal, DecimalException
from pathlib import Path

import orjson
import structlog

from app.domain.candles import to_milliseconds
from app.domain.fees import FeeRates
from app.emulator.clock import read_clock_mode
from app.emulator.config import EmulatorConfig, GeneratedSymbol, ReplayFile
from app.emulator.limits import LimitSettings
from app.emulator.scenario import read_scenario
from app.emulator.server import run
from app.errors import ConfigError

if sys.platform == "win32":
    new_event_loop = None  # asyncio's own
else:
    from uvloop import new_event_loop

_LIMITS = (
    ("weight-limit", "request weight an IP may use in a minute"),
    ("raw-limit", "requests an IP may send in five minutes"),
    ("order-limit-10s", "unfilled orders an account may place in ten seconds"),
    ("order-limit-1d", "unfilled orders an account may place in a day"),
    ("connection-limit", "websocket connections an IP may open in five minutes"),
    ("message-limit", "frames a websocket client may send in a second"),
)


def read_arguments(arguments: list[str]) -> EmulatorConfig:
    """Return the configuration a command line asks for.

    Raises:
        ConfigError: a value cannot be used.
    """
    given = _parser().parse_args(arguments)
    if given.symbol is not None and len(given.replay) != 1:
        raise ConfigError("a symbol can be given for exactly one replay file")
    config = EmulatorConfig(
        host=given.host,
        port=given.port,
        replay=tuple(ReplayFile(path=path, symbol=given.symbol) for path in given.replay),
        generate=tuple(given.generate),
        seed=given.seed,
        speed=given.speed,
        history_minutes=given.history,
        start_at_ms=given.start_at,
        is_shifted=not given.no_shift,
        is_paused=given.paused,
        ideal=given.ideal,
        state_file=given.state,
        fees=FeeRates(maker=given.maker_fee, taker=given.taker_fee),
        parent_pid=given.parent_pid,
        ping_interval_s=given.ping_interval,
        pong_timeout_s=given.pong_timeout,
        clock=read_clock_mode(given.clock),
        connection_lifetime_s=given.connection_lifetime,
        journal_capacity=given.journal,
        limits=LimitSettings(
            weight_1m=given.weight_limit,
            raw_requests_5m=given.raw_limit,
            orders_10s=given.order_limit_10s,
            orders_1d=given.order_limit_1d,
            connections_5m=given.connection_limit,
            ban_after=given.ban_after,
        ),
        message_limit=given.message_limit,
    )
    return config if given.scenario is None else read_scenario(given.scenario, config)


def run_command(arguments: list[str]) -> int:
    """Run the command and return its exit code: 1 for a scenario that was not as expected, 2 for a configuration that cannot be used."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        config = read_arguments(arguments)
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            verdict = runner.run(run(config, on_ready=lambda url: _say({"url": url, "pid": os.getpid()})))
    except (ConfigError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if verdict is None:
        return 0
    _say({"verdict": verdict.describe()})
    return 0 if verdict.is_passed else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m app.emulator", description="A Binance Spot exchange on loopback, with a market of its own."
    )
    parser.add_argument("--host", default="127.0.0.1", help="loopback address to listen on")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument(
        "--replay", type=Path, action="append", default=[], metavar="FILE", help="csv or csv.gz with 1m candles; repeatable"
    )
    parser.add_argument("--symbol", help="the replay file's symbol, if its name does not tell")
    parser.add_argument(
        "--generate", type=_generated, action="append", default=[], metavar="SYMBOL:PRICE", help="make up a market; repeatable"
    )
    parser.add_argument("--scenario", type=Path, metavar="FILE", help="toml or json; what it says goes before the other arguments")
    parser.add_argument("--seed", type=int, default=42, help="of made-up markets")
    parser.add_argument("--speed", type=float, default=1.0, help="market minutes per minute")
    parser.add_argument("--history", type=int, default=1440, metavar="MINUTES", help="already past at the start")
    parser.add_argument("--start-at", type=_moment, metavar="ISO|MS", help="candle of the file at which now begins")
    parser.add_argument("--no-shift", action="store_true", help="keep the file's own times")
    parser.add_argument("--paused", action="store_true", help="start with a market that stands still")
    parser.add_argument("--ideal", type=_decimal, metavar="SLIPPAGE", help="the market that backtests assume, such as 0.0005")
    parser.add_argument("--state", type=Path, metavar="FILE", help="keep accounts, orders and the market's place here")
    parser.add_argument("--maker-fee", type=_decimal, default=Decimal("0.001"))
    parser.add_argument("--taker-fee", type=_decimal, default=Decimal("0.001"))
    parser.add_argument("--parent-pid", type=int, help="stop when that process is gone")
    parser.add_argument("--ping-interval", type=float, default=20.0, metavar="SECONDS", help="between pings of stream clients")
    parser.add_argument("--pong-timeout", type=float, default=60.0, metavar="SECONDS", help="after which a silent client is disconnected")
    parser.add_argument("--clock", default="real", metavar="MODE", help="real, virtual, or displaced such as real+skew:7000ms")
    parser.add_argument(
        "--connection-lifetime", type=float, default=24 * 3600.0, metavar="SECONDS", help="after which a websocket connection is cut"
    )
    for name, meaning in _LIMITS:
        parser.add_argument(f"--{name}", type=int, metavar="COUNT", help=meaning)
    parser.add_argument("--ban-after", type=int, default=10, metavar="COUNT", help="refusals in a minute after which an IP is banned")
    parser.add_argument("--journal", type=int, default=100_000, metavar="COUNT", help="requests to remember for GET /_log")
    return parser


def _say(document: object) -> None:
    sys.stdout.write(orjson.dumps(document).decode() + "\n")
    sys.stdout.flush()


def _decimal(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except DecimalException as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no decimal") from error
    if not value.is_finite() or value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number ≥ 0")
    return value


def _generated(text: str) -> GeneratedSymbol:
    symbol, _, price = text.partition(":")
    if not symbol or _decimal(price) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} must look like BTCUSDT:60000")
    return GeneratedSymbol(symbol=symbol.upper(), price=Decimal(price))


def _moment(text: str) -> int:
    if text.isdigit():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is neither ISO 8601 nor milliseconds") from error
    return to_milliseconds(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))


if __name__ == "__main__":
    sys.exit(run_command(sys.argv[1:]))
