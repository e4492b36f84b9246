"""The list of backtests, the form of a new one, and some of them side by side."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal

from app.ui.views.backtest import MetricGroup
from app.ui.views.safeguards import SafeguardForm
from app.ui.views.shell import Choice, Region, Shell
from app.ui.views.strategy_editor import ParameterForm

BacktestState = Literal["queued", "fetching", "running", "completed", "canceled", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestRow:
    """One backtest. `net` and the figures after it are None until there is a result; fractions of one, the drawdown positive.

    `pct` is how far it is, 0 to 100, while it runs; `error` why it failed.
    """

    id: str
    number: int
    strategy: str
    version: int
    exchange: str
    symbol: str
    timeframe: str
    period: str
    state: BacktestState
    created_at: datetime
    pct: int = 0
    net: Decimal | None = None
    held: Decimal | None = None
    drawdown: Decimal | None = None
    sharpe: Decimal | None = None
    trades: int | None = None
    error: str = ""

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes of it."""
        return self.state in ("completed", "canceled", "failed")

    @property
    def is_comparable(self) -> bool:
        """Whether there is a result that can be laid beside another."""
        return self.net is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestList(Region[BacktestRow]):
    """The list, region of `fragments/backtests/_list.html`. `next` is where the older ones are, "" behind the oldest.

    The three filters are "" for all; `strategies` and `states` what can be chosen.
    """

    strategy: str = ""
    symbol: str = ""
    chosen: str = ""
    strategies: tuple[Choice, ...] = ()
    states: tuple[Choice, ...] = ()
    next: str = ""

    @property
    def is_filtered(self) -> bool:
        """Whether some are left out."""
        return bool(self.strategy or self.symbol or self.chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestsView:
    """The page of all backtests."""

    shell: Shell
    backtests: BacktestList


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestFields:
    """What is typed into the form, as it is typed; percentages are per cent, slippage is in basis points, dates as ISO writes them."""

    strategy: str = ""
    version: str = ""
    account: str = ""
    symbol: str = ""
    timeframe: str = ""
    since: str = ""
    until: str = ""
    capital: str = "10000"
    taker: str = ""
    maker: str = ""
    slippage: str = "5"
    volume_share: str = ""
    funding: str = ""
    note: str = ""
    detail: bool = False
    safeguards: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestForm:
    """The form, region of `fragments/backtests/_form.html`. `copied` is the number of the backtest that it is a copy of, 0 of none.

    `own_timeframe` is the one that the strategy names, "" where that is not known; `quote` the currency of the capital. `has_draft`: what
    stands in the editor is no version yet. `path` is where the form comes anew from: a search has one as well.
    """

    fields: BacktestFields
    path: str = "/backtests"
    strategies: tuple[Choice, ...] = ()
    versions: tuple[Choice, ...] = ()
    accounts: tuple[Choice, ...] = ()
    timeframes: tuple[str, ...] = ()
    presets: tuple[Choice, ...] = ()
    parameters: ParameterForm = field(default_factory=ParameterForm)
    safeguards: SafeguardForm = field(default_factory=lambda: SafeguardForm(scope="backtest"))
    own_timeframe: str = ""
    quote: str = ""
    has_draft: bool = False
    copied: int = 0
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolOptions:
    """Symbols that fit what was typed, region of `fragments/backtests/_symbols.html`."""

    rows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestFormView:
    """The page of the form."""

    shell: Shell
    form: BacktestForm


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedFact:
    """Something that belongs to a run; `differs` where the others say something else."""

    name: str
    value: str
    differs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRun:
    """One of the runs that are laid side by side; `tone` is the number of its colour."""

    id: str
    number: int
    tone: int
    title: str
    facts: tuple[ComparedFact, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareView:
    """The page of up to four runs side by side; the last column is that of having held. `missing` is how many were asked for in vain."""

    shell: Shell
    runs: tuple[ComparedRun, ...] = ()
    columns: tuple[str, ...] = ()
    groups: tuple[MetricGroup, ...] = ()
    quote: str = ""
    missing: int = 0
