"""The page of one bot with awkward values: decisions with every outcome, trades, something that waits for its owner."""

import math
from datetime import timedelta
from decimal import Decimal

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.domain.candles import to_milliseconds
from app.ui import views
from app.ui.views.bot import (
    ApprovalRow,
    BotLive,
    BotSettings,
    BotTrade,
    BotView,
    FactLine,
    OrderLink,
    SignalList,
    SignalRow,
    TradeList,
)
from app.ui.views.bot_shadow import BotShadow, CauseRow, Curves, DifferenceRow
from app.ui.views.bots import BotCard, BotTitle
from tests.ui.sample_bot_cards import CENT, ID, NOW, STEP, WAITS, log


def signals() -> SignalList:
    """Decisions with every outcome."""
    facts = (
        ("none", "done", WAITS),
        ("long", "done", "EMA 24 crossed above EMA 72"),
        ("long", "denied", "4.5 USDT is below the exchange minimum of 5 USDT"),
        ("long", "waiting", ""),
        ("long", "expired", "nobody answered before the next candle"),
        ("short", "skipped", "not possible on a spot account"),
        ("levels", "done", "the trailing stop follows to 57960.00"),
        ("exit", "submitted", "EMA 24 crossed below EMA 72"),
        ("adjust", "rejected", ""),
    )
    return SignalList(
        rows=tuple(
            SignalRow(
                id=f"s{at}",
                open_time=NOW - timedelta(minutes=5 * at),
                action=action,  # type: ignore[arg-type]
                state=state,  # type: ignore[arg-type]
                words=words,
                price=Decimal("58720.45"),
                tick=CENT,
                orders=(OrderLink(id=f"{ID}31", label="Buy"), OrderLink(id=f"{ID}32", label="Stop")) if at == 1 else (),
                latency_ms=212 if at == 1 else None,
            )
            for at, (action, state, words) in enumerate(facts)
        ),
        number=7,
        next="/bots/7?signals=all&before=s8",
    )


def trades() -> TradeList:
    """A gain, a loss, and one whose fees nobody knows."""
    return TradeList(
        rows=tuple(
            BotTrade(
                id=f"t{at}",
                quantity=Decimal("0.062"),
                entry=Decimal("57102.10"),
                exit=Decimal("58001.00"),
                profit=Decimal(profit),
                share=Decimal(profit) / 3540,
                opened_at=NOW - timedelta(hours=9),
                closed_at=NOW - timedelta(hours=at),
                reason=reason,
                fees=Decimal("7.12"),
                tick=CENT,
                step=STEP,
            )
            for at, (profit, reason) in enumerate((("48.61", "Target"), ("-71.2", "Stop"), ("0", "Exit rule")))
        ),
        number=7,
        quote="USDT",
        next="/bots/7?tab=trades&before=t2",
    )


def approval() -> ApprovalRow:
    """A purchase that waits for its owner."""
    return ApprovalRow(
        id="s3",
        at=NOW - timedelta(seconds=18),
        until=NOW + timedelta(seconds=282),
        action="long",
        words="EMA 24 crossed above EMA 72 <b>",
        price=Decimal("58720.45"),
        quantity=Decimal("0.01702"),
        worth=Decimal("999.42"),
        tick=CENT,
        step=STEP,
    )


def live(shown: BotCard, **given: object) -> BotLive:
    """How it stands."""
    values: dict[str, object] = {
        "card": shown,
        "realised": Decimal("133.86"),
        "fees": Decimal("21.12"),
        "drawdown": Decimal("0.0121"),
        "started_at": NOW - timedelta(days=2),
    }
    return BotLive(**(values | given))  # type: ignore[arg-type]


def settings(shown: BotTitle) -> BotSettings:
    """What it was made of."""
    return BotSettings(
        title=shown,
        strategy_id=f"{ID}01",
        capital=Decimal(10_000),
        feed="Binance",
        venue="Bitget",
        created_at=NOW - timedelta(days=3),
        end_at=NOW + timedelta(days=30),
        backtest=142,
        parameters=(FactLine(name="fast", value="24"), FactLine(name="slow", value="72")),
        safeguards=(
            FactLine(name="Most that may be lost in a day", value="200 USDT"),
            FactLine(name="Pause after a loss", value="3 candles"),
        ),
        of_user=(FactLine(name="Most open positions", value="3"),),
    )


def bot(shell: views.Shell, shown: BotCard, *, tab: str = "signals", **given: object) -> BotView:
    """The page of one bot."""
    return BotView(
        shell=shell,
        live=live(shown, **given),
        settings=settings(shown.title),
        signals=signals(),
        trades=trades(),
        log=log(number=shown.title.number),
        shadow=shadow(shown.title.number, shown.title.quote),
        tab=tab,
    )


def routes() -> list[Route]:
    """What the curve of the bot's page reads."""

    async def equity(request: Request) -> Response:
        del request
        first = to_milliseconds(NOW - timedelta(days=2))
        points = [[first + 300_000 * at, str(10_000 + 60 * math.sin(at / 30) + at / 3)] for at in range(576)]
        return JSONResponse({"points": points})

    return [Route("/bots/{number}/equity", equity)]


def shadow(number: int = 7, quote: str = "USDT") -> BotShadow:
    """A comparison with every sort of difference."""
    rows = tuple(
        DifferenceRow(
            at=NOW - timedelta(hours=at),
            cause=cause,
            label=label,
            words=words,
            money=Decimal(money),
            code="INSUFFICIENT_FUNDS" if cause == "denied" else "",
            orders=(f"{ID}31",) if at % 2 else (f"{ID}31", f"{ID}32"),
            signal=f"s{at}" if at % 3 else "",
            before="2026-11-26T10:00:00.001Z",
        )
        for at, (cause, label, words, money) in enumerate(
            (
                ("decision", "Another decision on the same candle", "entry on one side only, from the same candles", "-12.5"),
                ("fill_price", "Price of the fill", "entry at 60120.4 instead of 60060 (+10.06 bps)", "-1.61"),
                ("missed_candle", "Missed candle", "entry missed: no action: the feed is not fresh <i>", "44.2"),
                ("denied", "Denied order", "entry denied: the account holds 3 USDT, 500 are needed", "-102.77"),
                ("capital", "Other capital after earlier differences", "it traded with 934.2 instead of 1004.1", "3.02"),
                ("approval", "Not approved", "entry not approved: nobody answered before the next candle closed", "0"),
            )
        )
    )
    points = [(at * 30, 80 + 60 * math.sin(at / 3)) for at in range(21)]
    return BotShadow(
        number=number, quote=quote, state="running", can_compare=True, compared_at=NOW, until_at=NOW, live=Decimal("-70.2"),
        shadow=Decimal("3.14"), rest=Decimal("0.02"), live_trades=14, shadow_trades=16, taker=Decimal("0.001"), maker=Decimal("0.001"),
        capital=Decimal(1000), is_loud=True, differences=rows, more=3, problem="there are no candles of that market <b>",
        causes=tuple(
            CauseRow(code=row.cause, label=row.label, money=row.money, count=at + 1, share=at * 18) for at, row in enumerate(rows)
        ),
        curves=Curves(
            live=" ".join(f"{x},{y:.1f}" for x, y in points),
            shadow=" ".join(f"{x},{160 - y:.1f}" for x, y in points),
            highest=Decimal("1044.20"), lowest=Decimal("901.02"), since=NOW - timedelta(days=3), until=NOW,
        ),
    )  # fmt: skip
