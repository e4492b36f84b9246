"""The `aristobot` command."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer
from cryptography.fernet import Fernet
from pydantic import ValidationError

from app import __version__
from app.bootstrap.commands import change_keys, examine_jail, initialise, inspect
from app.bootstrap.strategies import close_memory
from app.candles_cli import candles_cli
from app.core.config import LogFormat, Settings
from app.core.logging import configure_logging
from app.demo import DemoOptions, free_port, run_demo
from app.emulator.__main__ import run_command as run_emulator
from app.errors import AppError
from app.main import Server, create_app, listen, run
from app.sandbox.link import LEVEL_WORDS, Level

cli = typer.Typer(
    name="aristobot",
    help="Self-hosted crypto trading: alerts, orders, positions.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
keys = typer.Typer(help="Encryption keys.", no_args_is_help=True)
cli.add_typer(keys, name="keys")
cli.add_typer(candles_cli, name="candles")

_DEMO_PORT = 8000


@cli.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on. [default: HOST or 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on. [default: PORT or 8000]")] = None,
) -> None:
    """Run the server: pages, API, webhooks, heartbeat and orders."""
    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    settings = Settings(**given)  # type: ignore[arg-type]  # typer checked the types
    configure_logging(level=settings.log_level, fmt=settings.log_format, file=settings.log_file)
    close_memory()
    listener = listen(settings.host, settings.port)
    named = f"[{settings.host}]" if ":" in settings.host else settings.host
    shown = f"http://{named}:{listener.getsockname()[1]}"
    typer.echo(f"Aristobot {__version__} listens on {shown} once it is ready. Ctrl-C stops it.")
    if (settings.public_url or "").startswith("https:") and not settings.trusted_proxies:
        typer.echo("PUBLIC_URL is https, but TRUSTED_PROXIES is empty: everybody seems to come from the proxy, and cookies lack Secure.")
    app = create_app(settings, announce=typer.echo)
    run(Server(app, settings).serve(sockets=[listener]))
    if (supervisor := getattr(app.state, "supervisor", None)) is not None and supervisor.has_failed:
        raise typer.Exit(1)


@cli.command()
def demo(
    port: Annotated[int | None, typer.Option(help="Port of the pages. [default: 8000, or a free one when it is taken]")] = None,
    data_dir: Annotated[Path, typer.Option(help="Where the demo keeps its database.")] = Path("aristobot-data/demo"),
    speed: Annotated[float, typer.Option(help="Market minutes per minute.", min=0.01, max=10_000)] = 1.0,
    replay: Annotated[
        Path | None, typer.Option(help="Candles to replay (csv or csv.gz); without one a market is made up.", exists=True)
    ] = None,
    symbol: Annotated[str | None, typer.Option(help="The replay file's symbol, if its name does not tell, like BTCUSDT.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show the server's log.")] = False,
) -> None:
    """Try everything with play money: an emulated exchange, a database and the server, offline."""
    configure_logging(level="INFO" if verbose else "WARNING", fmt=LogFormat.CONSOLE, file=data_dir / "aristobot.log")
    chosen = free_port(_DEMO_PORT) if port is None else port
    run_demo(DemoOptions(data_dir=data_dir, port=chosen, speed=speed, replay=replay, symbol=symbol))


@cli.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}, add_help_option=False)
def emulator(context: typer.Context) -> None:
    """Run an emulated exchange alone; `aristobot emulator --help` lists its options."""
    raise typer.Exit(run_emulator(context.args))


def _quiet() -> Settings:
    """Settings for a command that speaks for itself: of its log only warnings are shown, redacted as the server's."""
    settings = Settings()
    configure_logging(level="WARNING", fmt=settings.log_format)
    return settings


@cli.command()
def init() -> None:
    """Make the database, the administrator and what else a first start makes; what is there already stays. Safe to repeat."""
    asyncio.run(initialise(_quiet(), typer.echo))


@cli.command()
def audit() -> None:
    """Print what must always hold in the database and does not; nothing is changed. Ends with 1 when there is any."""
    found = asyncio.run(inspect(_quiet()))
    for finding in found:
        typer.echo(str(finding))
    typer.echo(f"{len(found)} findings" if found else "All that must hold does.")
    raise typer.Exit(1 if found else 0)


@cli.command()
def doctor() -> None:
    """Try for real how well strategies are locked in on this machine. Ends with 1 below level B, where none of strangers may run."""
    settings = _quiet()
    report = asyncio.run(examine_jail(settings))
    for finding in report.findings:
        typer.echo(f"{'ok  ' if finding.is_good else 'no  '} {finding.code:<32} {finding.detail}".rstrip())
    is_enough = report.level <= Level.B
    typer.echo(f"Level {report.level}: {LEVEL_WORDS[report.level]}")
    if not is_enough and settings.trust_strategies:
        typer.echo("TRUST_STRATEGIES is set: they run all the same, with whatever protection there is.")
    raise typer.Exit(0 if is_enough else 1)


@keys.command("new")
def new_key() -> None:
    """Print a fresh FERNET_KEY."""
    typer.echo(Fernet.generate_key().decode())


@keys.command("rotate")
def rotate_keys(
    drop_old: Annotated[bool, typer.Option("--drop-old", help="Afterwards forget the older keys, if nothing is sealed with them.")] = False,
) -> None:
    """Seal every stored secret with a new encryption key; servers may run meanwhile. Run it again if it was interrupted."""
    asyncio.run(change_keys(_quiet(), lambda rotation: rotation.rotate(drop_old=drop_old), typer.echo))


@keys.command("replace-lost")
def replace_lost_key(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Give up an encryption key of which there is no copy: API keys that it sealed must be entered again."""
    if not yes:
        typer.confirm("Every stored secret that the lost key sealed stays unreadable for good. Is there really no copy?", abort=True)
    asyncio.run(change_keys(_quiet(), lambda rotation: rotation.replace_lost(), typer.echo))


def main() -> None:
    """Run the command; mistakes of configuration end it with a sentence instead of a stack trace."""
    try:
        cli()
    except AppError as error:
        sys.exit(f"aristobot: {error.message}")
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(str(part) for part in item['loc']).upper()}: {item['msg']}" for item in error.errors())
        sys.exit(f"aristobot: the settings cannot be used: {problems}")


if __name__ == "__main__":
    main()
