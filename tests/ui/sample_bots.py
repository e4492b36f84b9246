"""Bots with awkward values: in every state and mode, with and without a position, names of markup, nothing at all."""

from dataclasses import replace

from app.ui import views
from app.ui.templating import PageView
from app.ui.views.backtests import SymbolOptions
from app.ui.views.bot import BotFault, BotQuestion, SignalList, TradeList
from app.ui.views.bot_form import BotFields, BotForm, BotFormView
from app.ui.views.bot_safeguards import TripRow, UserSafeguardsView, UserTrips
from app.ui.views.bot_shadow import BotShadow
from app.ui.views.bots import BotCards, BotLog, BotsView, RunningBots
from app.ui.views.safeguards import SafeguardForm
from app.ui.views.shell import Choice
from app.ui.views.strategy_editor import ParameterField, ParameterForm
from tests.ui.sample_bot import approval, bot, live, routes, signals, trades
from tests.ui.sample_bot_cards import ID, NOW, card, cards, each_card, log, position, title, totals

__all__ = ["fragments", "pages", "routes", "running"]


def form(**given: object) -> BotForm:
    """The form with fields of every kind and something wrong."""
    parameters = (
        ParameterField(name="fast", kind="int", value="24", default="12", low="5", high="50", help="Candles of the fast average."),
        ParameterField(name="slow", kind="int", value="x", default="26", error="That is not a whole number."),
        ParameterField(name="both_sides", kind="bool", value="true", default="false"),
    )
    values: dict[str, object] = {
        "fields": BotFields(
            strategy=f"{ID}01", version="7", account=f"{ID}09", symbol="BTC/USDT", capital="x", until="2026-12-31", ask=True
        ),
        "key": "k1",
        "mode": "ask",
        "env": "live",
        "strategies": (Choice(value=f"{ID}01", label="EMA cross <b>"),),
        "versions": (Choice(value="7", label="7 · valid"), Choice(value="6", label="6 · looks ahead · a note")),
        "accounts": (
            Choice(value=f"{ID}08", label="Paper · main · play money"),
            Choice(value=f"{ID}09", label="Binance · main · real money"),
        ),
        "timeframes": ("1m", "15m", "1h", "1d"),
        "parameters": ParameterForm(rows=parameters, is_described=True),
        "own_timeframe": "1h",
        "quote": "USDT",
        "feed": "Binance",
        "venue": "Bitget",
        "free": "9,184.52 USDT are free on this account.",
        "backtest": 142,
        "problem": "Version 6 looks ahead: it may not trade <b>.",
        "errors": {"capital": "That is not a number."},
    }
    return BotForm(**(values | given))  # type: ignore[arg-type]


def _paper_form() -> BotForm:
    return form(
        mode="paper", env="paper", problem="", errors={}, backtest=0, cloned=7, venue="", parameters=ParameterForm(is_described=True)
    )


_OTHERWISE = (
    "3 of its 41 trades sold short: a spot account cannot, the bot leaves them out",
    "it reckoned with a slippage of 0%: real orders at the market cost more <i>",
)


def _together() -> SafeguardForm:
    """Safeguards of all bots with something wrong."""
    fields = {"sg_daily": "5", "sg_daily_action": "flatten", "sg_stops": "4", "sg_notional": "<b>"}
    errors = {"sg_notional": "That is not a number.", "sg_stops_window": "Say within how long."}
    return SafeguardForm(scope="user", fields=fields, errors=errors)


def _states() -> tuple[Choice, ...]:
    return (Choice(value="active", label="Not stopped"), Choice(value="running", label="Running"), Choice(value="all", label="All"))


def pages(shell: views.Shell) -> dict[str, tuple[str, PageView]]:
    """The pages in every state."""
    index, one, new = "pages/bots/index.html", "pages/bots/bot.html", "pages/bots/new.html"
    whole = BotsView(shell=shell, totals=totals(), cards=cards(), log=log(), states=_states())
    first = {each.title.state: each for each in each_card()}
    fault = BotFault(
        message="NameError: name 'slow_line' is not defined <i>",
        line=18,
        href="/strategies/x?version=7#L18",
        traceback="line 18 <i>\n" * 30,
        at=NOW,
    )
    tripped = TripRow(
        id="1", rule="daily_loss", words="204.11 USDT were lost today, of 200 USDT that may be.", at=NOW, action="suspend", is_all=True
    )
    trips = UserTrips(rows=(tripped, replace(tripped, id="2", action="flatten")))
    together = UserSafeguardsView(shell=shell, form=_together(), trips=trips)
    return {
        "bots": (index, whole),
        "bots-tripped": (index, replace(whole, trips=together.trips)),
        "bots-safeguards": ("pages/bots/safeguards.html", together),
        "bots-safeguards-empty": ("pages/bots/safeguards.html", UserSafeguardsView(shell=shell)),
        "bots-kiosk": (index, replace(whole, is_kiosk=True)),
        "bots-empty": (index, BotsView(shell=shell, cards=BotCards(has_strategy=True))),
        "bots-without-strategy": (index, BotsView(shell=shell)),
        "bots-not-found": (index, replace(whole, cards=BotCards(has_any=True, search="<i>"), log=BotLog(show="problems"))),
        "bot": (one, bot(shell, card(7))),
        "bot-new": (new, BotFormView(shell=shell, form=form())),
        "bot-new-paper": (new, BotFormView(shell=shell, form=_paper_form())),
        "bot-new-promoted": (new, BotFormView(shell=shell, form=replace(_paper_form(), backtest=142, cloned=0, otherwise=_OTHERWISE))),
        "bot-new-empty": (new, BotFormView(shell=shell, form=BotForm(fields=BotFields()))),
        "bot-new-no-account": (new, BotFormView(shell=shell, form=form(accounts=()))),
        "bot-asks": (one, bot(shell, each_card()[1], approvals=(approval(),))),
        "bot-faulted": (one, bot(shell, first["faulted"], fault=fault, tab="log")),
        "bot-tripped": (one, bot(shell, first["suspended"], trips=(tripped,), tab="trades")),
        "bot-ready": (
            one,
            replace(
                bot(shell, first["ready"], tab="shadow"),
                signals=SignalList(number=4),
                trades=TradeList(number=4),
                log=BotLog(number=4),
                shadow=BotShadow(number=4, quote="USDT"),
            ),
        ),
        "bot-shadow": (one, bot(shell, card(7), tab="shadow")),
        "bot-stopped": (one, bot(shell, first["stopped"], stopped_at=NOW)),
    }


def running() -> RunningBots:
    """The dashboard's bots."""
    return RunningBots(rows=each_card()[:4], bots=7, has_strategy=True)


def fragments() -> dict[str, object]:
    """Every fragment."""
    folder, held = "fragments/bots", bot(views.Shell(csrf_token="", clock=NOW, page="bots"), card(7))
    asked = BotQuestion(
        action="stop", title=title(), key="k2", position=position(), capital=card().capital, error="It holds 0.062 BTC <b>."
    )
    return {
        f"{folder}/_card.html": card(7),
        f"{folder}/_cards.html": cards(),
        f"{folder}/_totals.html": totals(),
        f"{folder}/_log.html": log(),
        f"{folder}/_live.html": held.live,
        f"{folder}/_causes.html": held.live,
        f"{folder}/_approvals.html": live(each_card()[1], approvals=(approval(),)),
        f"{folder}/_signals.html": signals(),
        f"{folder}/_trades.html": trades(),
        f"{folder}/_settings.html": held.settings,
        f"{folder}/_question.html": asked,
        f"{folder}/_question_facts.html": asked,
        f"{folder}/_form.html": form(),
        f"{folder}/_shadow.html": held.shadow,
        f"{folder}/_user_safeguards.html": _together(),
        f"{folder}/_user_trips.html": UserTrips(
            rows=(TripRow(id="1", rule="drawdown", words="<b>", at=NOW, action="suspend", is_all=True),)
        ),
        f"{folder}/_texts.html": None,
        f"{folder}/_symbols.html": SymbolOptions(rows=("BTC/USDT", "ETH/USDT")),
        "fragments/dashboard/_bots.html": running(),
    }
