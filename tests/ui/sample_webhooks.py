"""The pages of webhooks with awkward values: names of markup, an alert that did not come, an attempt with everything."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from app.domain.enums import OrderState, OrderType, Side, Source
from app.ui import views
from app.ui.hook_forms import hook_form, size_choices
from app.ui.message_builder import build, choices_of
from app.ui.templating import PageView
from tests.ui.sample_guarding import guard

NOW = datetime(2026, 11, 21, 14, 4, 58, tzinfo=UTC)
_ID = "0190a7b2-77aa-7d10-8000-00000000000"
_PAGE = "pages/webhooks/webhooks.html"
_CODE = "0123456789abcdef" * 2


def hooks() -> views.Region[views.HookRow]:
    """One at work, one that is late, one that is paused and nobody's account behind it."""
    return views.Region(
        rows=(
            views.HookRow(
                id=f"{_ID}1",
                name="tv-btc-breakout <b>",
                broker="Binance main",
                env="simulated",
                created_at=NOW - timedelta(days=12),
                last_at=NOW - timedelta(minutes=3),
                last_decision="executed",
                counts=(
                    views.HookCount(decision="executed", count=212),
                    views.HookCount(decision="denied", count=3),
                    views.HookCount(decision="missed", count=1),
                    views.HookCount(decision="duplicate", count=12),
                ),
                interval="15m",
                senders=4,
                is_from_tradingview=True,
            ),
            views.HookRow(
                id=f"{_ID}2",
                name="a-very-long-name-of-a-webhook-that-nobody-should-give-at-all",
                broker="A-very-long-name-of-an-account-without-any-blank",
                env="paper",
                created_at=NOW,
                last_at=NOW - timedelta(hours=5),
                last_decision="unreadable",
                interval="1h",
                late_since=NOW - timedelta(hours=1),
                senders=2,
            ),
            views.HookRow(id=f"{_ID}3", name="tv-eth", broker="none: its account is gone", created_at=NOW, is_active=False),
        )
    )


def log() -> views.DeliveryLog:
    """Attempts of every decision, in the middle of the log."""
    facts: tuple[tuple[views.Decision, str, str, str, int | None], ...] = (
        ("missed", "no alert came", "no alert came with the close of 14:00 UTC (interval 15m)", "ALERT_MISSED", None),
        ("executed", "buy BTCUSDT 0.062", "", "", 12),
        ("pending", "sell BTCUSDT 0.1", "", "", None),
        ("denied", "buy BTCUSDT 0.00001", "0.58 USDT is below the exchange minimum of 5 USDT", "NOTIONAL_BELOW_MINIMUM", 6),
        ("unreadable", "", "<script>alert(1)</script> is not JSON: line 1, column 1", "PAYLOAD_UNREADABLE", 2),
        ("duplicate", "buy BTCUSDT 0.062", "the same message came before; it was not traded again", "", 3),
        ("ping", "x" * 60, "a test message; nothing to trade", "", 1),
    )
    rows = tuple(
        views.DeliveryRow(
            id=f"0190a7b2-77aa-7d10-8000-0000000001{index:02}",
            received_at=NOW - timedelta(minutes=7 * index, seconds=12),
            hook="tv-btc-breakout",
            decision=decision,
            summary=summary,
            reason=reason,
            code=code,
            latency_ms=latency,
            order_count=1 if decision == "executed" else 0,
            ip_address="2001:db8:1234:5678:9abc:def0:1234:5678",
            is_test=decision == "ping",
            is_replay=decision == "duplicate",
        )
        for index, (decision, summary, reason, code, latency) in enumerate(facts)
    )
    return views.DeliveryLog(rows=rows, here="/webhooks/log?cursor=x", next="/webhooks/log?cursor=y", turn="/webhooks/log?held=1")


def positions() -> views.Region[views.HookPosition]:
    """One that is guarded, one that is not, whose webhook is not known."""
    first = views.HookPosition(
        id=f"{_ID}4",
        symbol="BTC/USDT",
        hook="tv-btc-breakout",
        delivery_id=f"{_ID}7",
        quantity=Decimal("0.062"),
        average_price=Decimal("57102.10"),
        mark_price=Decimal("58720.45"),
        quote="USDT",
        opened_at=NOW - timedelta(hours=3),
        broker="Demo · main",
        guard=guard(),
        unrealised=Decimal("100.3377"),
        unrealised_pct=Decimal("0.0283"),
        tick=Decimal("0.01"),
        step=Decimal("0.00001"),
    )
    other = replace(first, id=f"{_ID}5", symbol="ETH/USDT", hook="", delivery_id="", guard=None, unrealised=Decimal("-12.4"))
    return views.Region(rows=(first, other))


def filter_form() -> views.LogForm:
    """The filter while something is looked for."""
    return views.LogForm(
        hooks=(views.Choice(value="h1", label="tv-btc-breakout"),),
        decisions=(views.Choice(value="missed", label="Missed"),),
        hook="h1",
        decision="missed",
        text='"<b>"',
        since="2026-11-20",
        timezone="Europe/Paris",
    )


def form(**errors: str) -> views.HookForm:
    """The form of a new webhook."""
    made = hook_form([], views.HookFields(name="tv-btc", hours_on=True), errors=errors)
    return replace(made, brokers=(views.Choice(value="b1", label="Binance main"),))


def settings() -> views.HookForm:
    """Settings of which everything is wrong."""
    names = ("name", "account", "interval", "allowed_ips", "symbol", "size_value", "stop_percent", "symbols", "max_notional", "hours")
    wrong = dict.fromkeys(names, "This must be a number above 0, such as 0.01, without spaces.")
    return replace(form(**wrong), id=f"{_ID}1", title="tv-btc <b>", place="settings")


def created() -> views.HookCreated:
    """The one sight of a webhook's address."""
    url = f"http://127.0.0.1:8000/hooks/{_CODE}"
    body = '{"symbol": "BTC/USDT", "side": "buy", "type": "market", "quantity": "0.01"}'
    curl = f"curl -X POST {url} -H 'Content-Type: application/json' -d '{body}'"
    return views.HookCreated(id=f"{_ID}1", name="tv-btc", url=url, curl=curl)


def wishes() -> tuple[views.Wish, ...]:
    """A purchase with everything, and the end of something else."""
    facts = (("Size", "2 % of equity at risk to the stop"), ("Stop loss", "−2 %"), ("Not used here", "leverage <b>, " * 8))
    return (
        views.Wish(action="Buy", symbol="BTCUSDT", facts=tuple(views.Said(name=name, value=value) for name, value in facts)),
        views.Wish(action="Close the position", symbol="ETHUSDT"),
    )


def tried(place: str = "test") -> views.Tried:
    """A message that would be denied."""
    return views.Tried(
        place=place,
        decision="denied",
        reason="this webhook does not trade BTC/USDT",
        code="SYMBOL_NOT_ALLOWED",
        delivery_id=f"{_ID}7",
        wishes=wishes(),
    )


def order(**fields: object) -> views.DeliveryOrder:
    """A filled order with two fills."""
    made = views.OrderRow(
        id=f"{_ID}8",
        created_at=NOW,
        symbol="BTC/USDT",
        side=Side.BUY,
        type=OrderType.MARKET,
        state=OrderState.FILLED,
        quantity=Decimal("0.062"),
        filled_quantity=Decimal("0.062"),
        average_price=Decimal("58701.17"),
        source=Source.WEBHOOK,
        broker="Demo · main",
        tick=Decimal("0.01"),
        step=Decimal("0.00001"),
    )
    fill = views.FillLine(
        at=NOW, side=Side.BUY, price=Decimal("58701.17"), quantity=Decimal("0.031"), fee=Decimal("0.0000031"), fee_asset="BTC"
    )
    whole = views.DeliveryOrder(order=made, sent_at=NOW, acknowledged_at=NOW, fills=(fill, fill))
    return replace(whole, **fields)  # type: ignore[arg-type]  # names of its fields


def delivery() -> views.DeliveryDetail:
    """An attempt that opened a position, closed another, and was replayed."""
    denied = replace(order().order, id=f"{_ID}9", state=OrderState.DENIED, reason="0.58 USDT is below the exchange minimum of 5 USDT")
    result = views.DeliveryResult(
        symbol="BTC/USDT",
        part="closed",
        realised=Decimal("-12.0512"),
        fees=Decimal("0.4412"),
        quote="USDT",
        opened_at=NOW - timedelta(hours=1),
        closed_at=NOW,
    )
    chain = views.ChainRow(id=f"{_ID}7", received_at=NOW, decision="executed", broker="Binance main", is_this=True, is_first=True)
    return views.DeliveryDetail(
        row=replace(log().rows[1], code="NOTIONAL_BELOW_MINIMUM", reason="0.58 USDT is below the exchange minimum of 5 USDT"),
        raw='{\n  "ticker": "BTCUSDT", "token": "••••", "long": "' + "x" * 120 + '"\n}<script>',
        size=214,
        content_type="text/plain; charset=utf-8",
        dialect="tradingview",
        alert_at=NOW - timedelta(seconds=2),
        done_at=NOW,
        broker="Binance main",
        env="simulated",
        wishes=wishes(),
        members=(views.Said(name="ticker", value="BTCUSDT"), views.Said(name="a-very-long-name-of-a-member", value="x" * 90)),
        orders=(order(), views.DeliveryOrder(order=denied, code="NOTIONAL_BELOW_MINIMUM")),
        results=(result, replace(result, part="opened", symbol="ETH/USDT", realised=Decimal(0), closed_at=None)),
        latencies=(
            views.Latency(label="Decided", ms=Decimal("4.1"), share=33),
            views.Latency(label="Exchange answered", ms=Decimal("12.4"), share=100),
        ),
        chain=(chain, replace(chain, id=f"{_ID}6", decision="denied", broker="Paper", is_this=False, is_first=False)),
        paper="Paper <b>",
        replay_error="you have no paper account that is switched on; add one under Brokers, then repeat the alert",
    )


def builder(**chosen: object) -> views.BuilderForm:
    """The builder with most of what can be chosen."""
    fields = replace(
        views.BuilderFields(
            hook=f"{_ID}1",
            stop_kind="percent",
            stop_value="2",
            target_kind="price",
            target_value="{{plot_0}}",
            target2_value="0",
            trailing="x",
        ),
        **chosen,  # type: ignore[arg-type]  # names of its fields
    )
    built = build(fields, hook_name="tv-btc <b>", url="https://your.host/hooks/…", now=NOW)
    hooks = (views.Choice(value="", label="any webhook"), views.Choice(value=f"{_ID}1", label="tv-btc <b>"))
    return views.BuilderForm(
        hooks=hooks, fields=fields, errors=built.errors, built=replace(built, tried=tried("built")), **choices_of(fields)
    )


def pages(shell: views.Shell) -> dict[str, tuple[str, PageView]]:
    """The list with its log, an empty one, one attempt, one that did not come, and the builder."""
    view = views.WebhooksView(shell=shell, form=form(), hooks=hooks(), positions=positions(), filter=filter_form(), deliveries=log())
    missed = replace(log().rows[0], summary="no alert came")
    nothing = views.DeliveryDetail(row=missed, raw="", size=0, cannot_replay="There is no message to repeat: none came.")
    return {
        "webhooks": (_PAGE, view),
        "webhooks-empty": (_PAGE, views.WebhooksView(shell=shell, form=views.HookForm(sizes=size_choices()))),
        "webhooks-filtered": (_PAGE, replace(view, deliveries=views.DeliveryLog(is_filtered=True, is_held=True, first="/webhooks/log"))),
        "delivery": ("pages/webhooks/delivery.html", views.DeliveryView(shell=shell, delivery=delivery())),
        "delivery-missed": ("pages/webhooks/delivery.html", views.DeliveryView(shell=shell, delivery=nothing)),
        "builder": ("pages/webhooks/builder.html", views.BuilderView(shell=shell, form=builder(), tried=tried("pasted"))),
        "builder-limit": (
            "pages/webhooks/builder.html",
            views.BuilderView(shell=shell, form=builder(kind="indicator", action="buy", type="limit", size_kind="risk", pine="5")),
        ),
    }


def fragments() -> dict[str, object]:
    """Fragments of those pages: template → region."""
    folder = "fragments/webhooks"
    return {
        f"{folder}/_hooks.html": hooks(),
        f"{folder}/_hook_positions.html": positions(),
        f"{folder}/_hook_form.html": form(),
        f"{folder}/_hook_created.html": created(),
        f"{folder}/_hook_settings.html": settings(),
        f"{folder}/_hook_question.html": views.HookQuestion(
            action="remove", id=f"{_ID}1", name="tv-btc <b>", attempts=212, orders=1, positions=1
        ),
        f"{folder}/_hook_test.html": views.HookTest(id=f"{_ID}1", name="tv-btc <b>", message='{"action": "buy"}', tried=tried()),
        f"{folder}/_tried.html": tried(),
        f"{folder}/_log_filter.html": filter_form(),
        f"{folder}/_log.html": log(),
        f"{folder}/_delivery.html": delivery(),
        f"{folder}/_delivery_orders.html": delivery(),
        f"{folder}/_delivery_chain.html": delivery(),
        f"{folder}/_builder_form.html": builder(),
        f"{folder}/_built.html": builder().built,
    }
