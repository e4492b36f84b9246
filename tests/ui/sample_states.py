"""An example of what restrains trading, with awkward values in it."""

from datetime import UTC, datetime

from app.ui import views

SINCE = datetime(2026, 11, 21, 14, 1, 58, tzinfo=UTC)


def trading_state() -> views.TradingView:
    """A halt of all accounts while positions are being closed, one of a symbol, and an account that is being checked."""
    return views.TradingView(
        missing_key=views.MissingKey(
            code="ENCRYPTION_KEY_MISSING", advice="the stored secrets are encrypted with the key <b>, which is missing"
        ),
        alarms=(
            views.AlarmRow(
                id="a1",
                code="UNPROTECTED",
                symbol="BTC/USDT",
                broker="Demo · main",
                since=SINCE,
                detail="Position BTC/USDT has no stop at the exchange (rejected <b>). Retrying; you can close it now.",
                position_id="p1",
            ),
        ),
        restraints=(
            views.RestraintRow(
                scope="user",
                key="",
                where="all your accounts",
                state="halted",
                reason="trading was stopped by hand, to cancel all orders and close all positions",
                since=SINCE,
                by="by dominique",
                can_resume=True,
            ),
            views.RestraintRow(
                scope="symbol",
                key="BTC/USDT",
                where="BTC/USDT",
                state="reducing",
                reason="the price of BTC/USDT is 60000 USDT, 5.26 % away from its last closed candle at 57000 USDT; "
                "the limit for a market order is 5 %",
                since=SINCE,
                by="by this server",
                can_resume=True,
            ),
            views.RestraintRow(
                scope="broker",
                key="b1",
                where="Demo · main",
                state="reconciling",
                reason="this server has just taken over and compares the account with the exchange first",
                since=SINCE,
                by="by this server",
            ),
        ),
        more=2,
        progress=(
            views.KillProgress(
                action="flatten", orders_left=1, positions_left=2, obstacles=(("ETH/USDT", "trading on this account is paused <b>"),)
            ),
            views.KillProgress(action="cancel", orders_left=4, positions_left=0),
        ),
    )
