"""The metrics of a summary, each with the convention that it follows: one list for the page, the API and the files."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

from app.core.i18n import N_
from app.domain.metrics import EquityFigures
from app.statistics.summary import Summary
from app.statistics.trip_figures import TripFigures

#: How a number is to be read: a fraction with a sign or without, a ratio, an amount with a sign or without, a count, milliseconds.
Unit = Literal["signed", "share", "ratio", "profit", "money", "count", "span"]
Number = float | int | Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """How one metric is named, found and explained; `name` and `convention` are message ids.

    `of_accounts` needs the curve of whole accounts, and says nothing where the filter leaves some of their trades out.
    """

    key: str
    name: str
    unit: Unit
    convention: str
    of_accounts: Callable[[EquityFigures], Number] | None = None
    of_trips: Callable[[TripFigures], Number] | None = None

    def value(self, summary: Summary) -> Number:
        """Return the number; None where it does not exist."""
        if self.of_accounts is not None:
            return None if summary.accounts is None else self.of_accounts(summary.accounts.figures)
        return None if self.of_trips is None else self.of_trips(summary.figures)


_TIME_WEIGHTED: Final = N_("Time-weighted: each step's gain over what there was before it. What was put in or taken out does not count.")
_NO_EXCURSIONS: Final = N_(
    "Not known of all trades together: how far a price went on the way is not kept. The page of each round trip reads it from the candles."
)
RETURN: Final = (
    Metric(key="total_return", name=N_("Total return"), unit="signed", of_accounts=lambda e: e.total_return, convention=_TIME_WEIGHTED),
    Metric(
        key="net",
        name=N_("Change of worth"),
        unit="profit",
        of_accounts=lambda e: e.net,
        convention=N_("Worth at the end less that at the begin and what was put in. USDT, open positions at their market price."),
    ),
    Metric(
        key="cagr",
        name="CAGR",
        unit="signed",
        of_accounts=lambda e: e.cagr,
        convention=N_("Growth a year of 365 days that would have led to the same end; not told below one day."),
    ),
    Metric(
        key="volatility",
        name=N_("Volatility, a year"),
        unit="share",
        of_accounts=lambda e: e.volatility,
        convention=N_("Deviation (n − 1) of daily returns × √365. Days are UTC."),
    ),
    Metric(
        key="best_day", name=N_("Best day"), unit="signed", of_accounts=lambda e: e.best_day, convention=N_("Largest return of a UTC day.")
    ),
    Metric(
        key="worst_day",
        name=N_("Worst day"),
        unit="signed",
        of_accounts=lambda e: e.worst_day,
        convention=N_("Smallest return of a UTC day."),
    ),
    Metric(
        key="winning_days",
        name=N_("Days won"),
        unit="share",
        of_accounts=lambda e: e.winning_days,
        convention=N_("Share of UTC days with a return above 0; flat days are not won."),
    ),
)
RISK: Final = (
    Metric(
        key="max_drawdown",
        name=N_("Max. drawdown"),
        unit="share",
        of_accounts=lambda e: e.max_drawdown,
        convention=N_("Largest fall below the highest time-weighted worth before it, hour by hour."),
    ),
    Metric(
        key="max_drawdown_ms",
        name=N_("Its duration"),
        unit="span",
        of_accounts=lambda e: e.max_drawdown_ms,
        convention=N_("From that peak until it was reached again, or until now."),
    ),
    Metric(
        key="longest_drawdown_ms",
        name=N_("Longest below a peak"),
        unit="span",
        of_accounts=lambda e: e.longest_drawdown_ms,
        convention=N_("It need not be the deepest."),
    ),
    Metric(
        key="sharpe",
        name="Sharpe",
        unit="ratio",
        of_accounts=lambda e: e.sharpe,
        convention=N_("Mean daily return over its deviation (n − 1), × √365. The riskless return is 0."),
    ),
    Metric(
        key="sortino",
        name="Sortino",
        unit="ratio",
        of_accounts=lambda e: e.sortino,
        convention=N_("As Sharpe, over the root of the mean square of losing days; other days count as 0 in it."),
    ),
    Metric(key="calmar", name="Calmar", unit="ratio", of_accounts=lambda e: e.calmar, convention=N_("CAGR over the deepest drawdown.")),
    Metric(
        key="max_fall",
        name=N_("Largest fall of the P&L"),
        unit="money",
        of_trips=lambda t: t.max_fall,
        convention=N_("Of the sum of closed trades below the highest sum before it. An amount: it needs no capital."),
    ),
    Metric(
        key="trade_sharpe",
        name=N_("Sharpe of the P&L"),
        unit="ratio",
        of_trips=lambda t: t.sharpe,
        convention=N_("Of what was realised each UTC day, days without a trade too, × √365. It needs no capital."),
    ),
    Metric(
        key="trade_sortino",
        name=N_("Sortino of the P&L"),
        unit="ratio",
        of_trips=lambda t: t.sortino,
        convention=N_("Likewise, over losing days."),
    ),
)
TRADES: Final = (
    Metric(
        key="trades",
        name=N_("Closed trades"),
        unit="count",
        of_trips=lambda t: t.outcomes.closed,
        convention=N_("From flat to flat, whatever was added or taken off on the way; by the moment of the end."),
    ),
    Metric(
        key="win_rate",
        name=N_("Win rate"),
        unit="share",
        of_trips=lambda t: t.outcomes.win_rate,
        convention=N_("Trades above 0 after fees, of all. At exactly 0 a trade is neither won nor lost."),
    ),
    Metric(
        key="expectancy",
        name=N_("Expectancy"),
        unit="profit",
        of_trips=lambda t: t.outcomes.expectancy,
        convention=N_("Mean profit of a trade, after fees."),
    ),
    Metric(
        key="profit_factor",
        name=N_("Profit factor"),
        unit="ratio",
        of_trips=lambda t: t.outcomes.profit_factor,
        convention=N_("What was won over what was lost; not told when nothing was lost."),
    ),
    Metric(
        key="payoff_ratio",
        name=N_("Payoff"),
        unit="ratio",
        of_trips=lambda t: t.outcomes.payoff_ratio,
        convention=N_("Average win over average loss."),
    ),
    Metric(
        key="sqn",
        name="SQN",
        unit="ratio",
        of_trips=lambda t: t.outcomes.sqn,
        convention=N_("Mean profit over its deviation (n − 1), × √trades; not capped at 100 trades."),
    ),
    Metric(
        key="average_win",
        name=N_("Average win"),
        unit="money",
        of_trips=lambda t: t.outcomes.average_win,
        convention=N_("Mean of the trades above 0."),
    ),
    Metric(
        key="average_loss",
        name=N_("Average loss"),
        unit="money",
        of_trips=lambda t: t.outcomes.average_loss,
        convention=N_("Mean of the trades below 0, as a positive amount."),
    ),
    Metric(
        key="best",
        name=N_("Best trade"),
        unit="profit",
        of_trips=lambda t: None if t.best is None else t.best.profit,
        convention=N_("Largest profit, after fees."),
    ),
    Metric(
        key="worst",
        name=N_("Worst trade"),
        unit="profit",
        of_trips=lambda t: None if t.worst is None else t.worst.profit,
        convention=N_("Smallest profit, after fees."),
    ),
    Metric(
        key="longest_wins",
        name=N_("Most wins in a row"),
        unit="count",
        of_trips=lambda t: t.outcomes.longest_wins,
        convention=N_("In the order in which trades ended, of all accounts together."),
    ),
    Metric(
        key="longest_losses",
        name=N_("Most losses in a row"),
        unit="count",
        of_trips=lambda t: t.outcomes.longest_losses,
        convention=N_("Likewise; a trade at exactly 0 ends a row."),
    ),
    Metric(
        key="average_hold_ms",
        name=N_("Average holding"),
        unit="span",
        of_trips=lambda t: t.outcomes.average_hold_ms,
        convention=N_("From the first fill to the one that made it flat."),
    ),
    Metric(
        key="longest_hold_ms",
        name=N_("Longest holding"),
        unit="span",
        of_trips=lambda t: t.outcomes.longest_hold_ms,
        convention=N_("Likewise, the longest."),
    ),
    Metric(
        key="exposure",
        name=N_("Exposure"),
        unit="share",
        of_trips=lambda t: t.exposure,
        convention=N_("Share of the time in which at least one position was open; overlaps count once."),
    ),
    Metric(key="mae", name="MAE", unit="signed", convention=_NO_EXCURSIONS),
    Metric(key="mfe", name="MFE", unit="signed", convention=_NO_EXCURSIONS),
)
GROUPS: Final = ((N_("Return"), RETURN), (N_("Risk"), RISK), (N_("Trades"), TRADES))
METRICS: Final = (*RETURN, *RISK, *TRADES)
