"""Cards, header and log of the monitor of bots, with awkward values: every state and mode, names of markup."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from app.ui.views.bots import (
    BotCard,
    BotCards,
    BotLog,
    BotPosition,
    BotTarget,
    BotTitle,
    BotTotals,
    LastSignal,
    LogLine,
    Spark,
    TradeMark,
)

NOW = datetime(2026, 11, 21, 14, 4, 58, tzinfo=UTC)
ID = "0190a7b2-77aa-7d10-8000-0000000000"
CENT = Decimal("0.01")
STEP = Decimal("0.00001")
WAITS = "no entry: EMA 24 is below EMA 72 <b>"


def title(number: int = 7, **given: object) -> BotTitle:
    """Which bot it is."""
    values: dict[str, object] = {
        "id": f"{ID}{number:02}",
        "number": number,
        "name": "EMA cross <b> on BTC",
        "strategy": "EMA cross",
        "version": 7,
        "symbol": "BTC/USDT",
        "timeframe": "5m",
        "account": "Paper · main",
        "mode": "paper",
        "state": "running",
    }
    return BotTitle(**(values | given))  # type: ignore[arg-type]


def position() -> BotPosition:
    """A long with a stop and two targets."""
    return BotPosition(
        id=f"{ID}70",
        quantity=Decimal("0.06200"),
        average_price=Decimal("57102.10"),
        opened_at=NOW - timedelta(hours=3),
        mark_price=Decimal("58720.45"),
        worth=Decimal("3640.67"),
        unrealised=Decimal("100.34"),
        unrealised_pct=Decimal("0.0283"),
        stop=Decimal("55960.00"),
        targets=(
            BotTarget(price=Decimal("58400.00"), fraction=Decimal("0.5"), is_reached=True),
            BotTarget(price=Decimal("60500.00"), fraction=Decimal("0.5")),
        ),
        risk=Decimal("171.15"),
        tick=CENT,
        step=STEP,
    )


def _spark(change: str) -> Spark:
    return Spark(points=" ".join(f"{at},{14 - 9 * math.sin(at / 9):.1f}" for at in range(0, 101, 4)), change=Decimal(change))


def _marks(*profits: str) -> tuple[TradeMark, ...]:
    return tuple(TradeMark(profit=Decimal(one), closed_at=NOW - timedelta(hours=30 - 2 * at)) for at, one in enumerate(profits))


def card(number: int = 7, **given: object) -> BotCard:
    """One at work that holds something."""
    values: dict[str, object] = {
        "title": title(number),
        "capital": Decimal(10_000),
        "equity": Decimal("10234.20"),
        "net": Decimal("0.02342"),
        "today": Decimal("126.40"),
        "position": position(),
        "next_at": NOW + timedelta(seconds=42),
        "signal": LastSignal(at=NOW - timedelta(minutes=5), action="none", state="done", words=WAITS),
        "trades": _marks("12.4", "-7.1", "30", "-2", "5.5", "-18", "44.1", "9", "0", "16"),
        "spark": _spark("0.0124"),
    }
    return BotCard(**(values | given))  # type: ignore[arg-type]


def each_card() -> tuple[BotCard, ...]:
    """One in every state."""
    quiet: dict[str, object] = {"position": None, "trades": (), "spark": None, "signal": None, "today": Decimal(0), "net": Decimal(0)}
    fell = "line 18: NameError: name 'slow_line' is not defined <i>"
    tripped = "The most that may be lost in a day is reached: 204.11 USDT of 200 USDT."
    return (
        card(
            9,
            title=title(
                9,
                name="a-very-long-name-of-a-bot-that-nobody-should-give-at-all-really",
                state="faulted",
                mode="live",
                env="live",
                account="Binance · main",
                symbol="1000SHIB/USDT",
                timeframe="15m",
            ),
            reason=fell,
            equity=Decimal("9120.55"),
            net=Decimal("-0.0879"),
            today=Decimal("-204.11"),
            next_at=None,
            spark=_spark("-0.021"),
        ),
        card(8, title=title(8, name="Asks first", mode="ask", env="live", account="Binance · main"), waiting=1, position=None),
        card(7),
        card(
            6,
            title=title(6, name="Grid", mode="live", env="testnet", account="Bitget test"),
            blocked="BTC/USDT has been silent for 4 min: nothing is entered.",
        ),
        card(
            5,
            title=title(5, name="Tripped", state="suspended"),
            reason=tripped,
            position=replace(position(), stop=None, risk=None, targets=()),
        ),
        card(4, title=title(4, name="Not begun", state="ready"), next_at=None, **quiet),
        card(
            3,
            title=title(3, name="Done", state="stopped"),
            reason="Stopped by dominique; its position was kept.",
            next_at=None,
            position=None,
        ),
    )


def cards() -> BotCards:
    """A bot in every state."""
    return BotCards(rows=each_card(), has_any=True, has_strategy=True, more=3)


def totals() -> BotTotals:
    """The header with a bound that is nearly reached."""
    return BotTotals(
        bots=7,
        running=3,
        faulted=1,
        equity=Decimal("33474.12"),
        capital=Decimal(30_000),
        risk=Decimal("412.05"),
        risk_share=Decimal("0.0123"),
        bare=1,
        today=Decimal("-126.40"),
        loss_share=Decimal("0.82"),
        loss_limit=Decimal(200),
    )


def log(*, number: int = 0) -> BotLog:
    """Lines of every level."""
    facts = (
        ("info", "decision", WAITS, 0),
        ("info", "entered", "Bought 0.062 BTC at 57102.10: EMA 24 crossed above EMA 72.", 0),
        ("warning", "tripped", "The most that may be lost in a day is reached: 204.11 USDT of 200 USDT. Suspended.", 0),
        ("error", "faulted", "NameError: name 'slow_line' is not defined <i>", 18),
    )
    return BotLog(
        rows=tuple(
            LogLine(
                id=str(90 - at),
                at=NOW - timedelta(minutes=5 * at),
                level=level,  # type: ignore[arg-type]
                kind=kind,
                words=words,
                number=7,
                name="EMA cross <b> on BTC",
                symbol="BTC/USDT",
                line=line,
                href=f"/strategies/x?version=7#L{line}" if line else "",
            )
            for at, (level, kind, words, line) in enumerate(facts)
        ),
        number=number,
        next="/bots?log=all&before=87",
    )
