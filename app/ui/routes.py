"""Mounts the pages, their stream and the static files."""

from fastapi import FastAPI
from starlette.routing import Route

from app.core.i18n import load_catalogues
from app.core.paths import resource
from app.ui import stream
from app.ui.assets import Assets
from app.ui.pages import (
    account,
    accounts,
    administration,
    assistant,
    backtest,
    backtests,
    bot,
    bot_safeguards,
    bot_shadow,
    bots,
    broker_changes,
    brokers,
    builder,
    dashboard,
    deliveries,
    docs,
    heartbeat,
    history,
    hooks,
    notifications,
    order_changes,
    own_log,
    portfolio,
    positions,
    preferences,
    robustness,
    searches,
    statistics,
    strategies,
    strategy_editor,
    strategy_trials,
    symbols,
    terminal,
    ticket,
    tokens,
    trading,
    webhooks,
)
from app.ui.strategy_reports import RecentReports
from app.ui.templating import Templating


def mount_pages(app: FastAPI) -> None:
    """Add everything a browser asks for."""
    load_catalogues()
    assets = Assets(resource("static"))
    app.state.templating = Templating(resource("templates"), resource("static"), assets=assets, now=lambda: app.state.clock.now())
    app.state.recent_reports = RecentReports()
    mine = (accounts, account, preferences, notifications, own_log, tokens, administration)
    alerts = (webhooks, builder, deliveries, hooks)
    market = (trading, terminal, ticket, order_changes, positions, symbols, heartbeat)
    # The list before the page of one, whose name could be any word.
    code = (strategies, strategy_editor, strategy_trials, assistant, backtests, searches, robustness, backtest)
    trading_alone, past = (bots, bot_safeguards, bot, bot_shadow), (history, statistics)
    for area in (*mine, dashboard, portfolio, brokers, broker_changes, *alerts, *code, *trading_alone, *past, *market, docs, stream):
        app.include_router(area.router)
    app.router.routes.append(Route("/static/{path:path}", assets.serve, methods=["GET", "HEAD"]))
