"""The library of strategies with awkward values: names of markup, a strategy that looks ahead, one from a stranger, an empty one."""

from datetime import UTC, datetime, timedelta

from app.core.i18n import use_language
from app.ui import views
from app.ui.strategies import strategy_form
from app.ui.templating import PageView

NOW = datetime(2026, 11, 21, 14, 4, 58, tzinfo=UTC)
_ID = "0190a7b2-77aa-7d10-8000-00000000000"
_PAGE = "pages/strategies/index.html"


def strategies() -> views.StrategyList:
    """One that may trade, one that looks ahead, one that came from somebody, one that was never looked at."""
    return views.StrategyList(
        rows=(
            views.StrategyRow(
                id=f"{_ID}1",
                name="EMA cross <b>",
                description="Long when the fast average crosses above the slow one. " * 12,
                number=7,
                validity="valid",
                valid_number=7,
                changed_at=NOW - timedelta(minutes=3),
                came_from="from the template EMA cross",
                market="BTC/USDT 1h",
                has_draft=True,
                is_used=True,
            ),
            views.StrategyRow(
                id=f"{_ID}2",
                name="a-very-long-name-of-a-strategy-that-nobody-should-give-at-all",
                number=12,
                validity="look_ahead",
                valid_number=9,
                changed_at=NOW - timedelta(days=2),
                market="1000SHIB/USDT 15m",
            ),
            views.StrategyRow(
                id=f"{_ID}3",
                name="Donchian",
                number=1,
                validity="unknown",
                changed_at=NOW,
                came_from="shared by somebody-with-a-long-name",
                is_received=True,
            ),
            views.StrategyRow(id=f"{_ID}4", name="Zufall", number=2, validity="invalid", changed_at=NOW - timedelta(days=40)),
        ),
        others=3,
        is_cut=True,
    )


def page(shell: views.Shell) -> views.StrategiesView:
    """The page with all of them."""
    return views.StrategiesView(shell=shell, strategies=strategies(), form=strategy_form(), file=views.ImportForm())


def pages(shell: views.Shell) -> dict[str, tuple[str, PageView]]:
    """The page with strategies, without any, and of the archive."""
    with use_language(shell.language):
        return _pages(shell)


def _pages(shell: views.Shell) -> dict[str, tuple[str, PageView]]:
    empty = views.StrategiesView(shell=shell, strategies=views.StrategyList(), form=strategy_form(), file=views.ImportForm())
    archive = views.StrategyList(is_archive=True, others=2)
    nothing = views.StrategyList(search="<i>nothing</i>", others=1)
    form = strategy_form(name="<", errors={"name": "taken"})
    return {
        "strategies": (_PAGE, page(shell)),
        "strategies-empty": (_PAGE, empty),
        "strategies-archive": (_PAGE, views.StrategiesView(shell=shell, strategies=archive, form=form, file=views.ImportForm())),
        "strategies-not-found": (_PAGE, views.StrategiesView(shell=shell, strategies=nothing, form=form, file=views.ImportForm())),
    }


def fragments() -> dict[str, object]:
    """Every fragment of the library."""
    return {
        "fragments/strategies/_list.html": strategies(),
        "fragments/strategies/_new.html": strategy_form(name="<", errors={"name": "taken", "template": "none", "": "no"}),
        "fragments/strategies/_import.html": views.ImportForm(errors={"file": "the file is no text in UTF-8"}),
        "fragments/strategies/_share.html": views.ShareForm(
            id=f"{_ID}1",
            name="EMA cross <b>",
            numbers=(views.Choice(value="7", label="7 · before the holidays"), views.Choice(value="6", label="6")),
            number="6",
            username="ada",
            errors={"username": "that is your own name: fork the strategy to have a copy of it", "": "no"},
        ),
        "fragments/strategies/_delete.html": views.StrategyQuestion(id=f"{_ID}1", name="EMA cross <b>", versions=7),
    }
