"""The page of the portfolio and its regions. Amounts are in the view's `currency` unless their name or a field says otherwise."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from app.ui.views.dashboard import EquityPoint, PositionRow
from app.ui.views.shell import Region, Shell


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfitCell:
    """What was earned in a period, without what came and went; `flows` is that. None before the first reading."""

    key: str
    amount: Decimal | None
    fraction: Decimal | None
    flows: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetRow:
    """One asset of the chosen accounts together. `price` and `value` are None where nobody quotes it; `share` is a fraction of the total.

    `average` (quote per base) and `unrealised` (in `quote`) come from open positions, None where none says.
    """

    asset: str
    free: Decimal
    locked: Decimal
    total: Decimal
    price: Decimal | None = None
    value: Decimal | None = None
    share: Decimal | None = None
    average: Decimal | None = None
    unrealised: Decimal | None = None
    quote: str = ""
    quote_decimals: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A part of the ring: lengths in hundredths of its circumference, as text for SVG. `tone` is its colour's number, from 1."""

    label: str
    value: Decimal
    share: Decimal
    tone: int
    length: str
    offset: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """Fragment `_allocation.html`. `unpriced` are assets that nobody quotes, which the ring leaves out."""

    currency: str
    decimals: int
    slices: tuple[Slice, ...] = ()
    unpriced: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """Fragment `_holdings.html`. `export` is where the file is."""

    currency: str
    decimals: int
    rows: tuple[AssetRow, ...] = ()
    export: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RealisedRow:
    """What was realised in one quote currency, after fees, in that currency."""

    quote: str
    day: Decimal
    week: Decimal
    month: Decimal
    total: Decimal
    decimals: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeRow:
    """What was paid in fees in one asset; `value` at today's rate, None where there is none."""

    asset: str
    amount: Decimal
    value: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Fragment `_results.html`."""

    currency: str
    decimals: int
    realised: tuple[RealisedRow, ...] = ()
    fees: tuple[FeeRow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowRow:
    """One amount that came or went. `id` is empty while it waits to be believed; `was` is the first amount of one that was corrected."""

    id: str
    at: datetime
    broker: str
    asset: str
    amount: Decimal
    value: Decimal | None
    note: str = ""
    was: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Flows:
    """Fragment `_flows.html`. `query` keeps the chosen accounts, `export` is where the file is."""

    currency: str
    decimals: int
    rows: tuple[FlowRow, ...] = ()
    notes: tuple[str, ...] = ()
    query: str = ""
    export: str = ""
    has_more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """Fragment `_headline.html`. `rate` is what one of the currency is worth in USDT, `missing` the chosen one where no rate is known.

    `total` is None before the first reading, `as_of` when the exchanges were last asked.
    """

    currency: str
    decimals: int
    total: Decimal | None = None
    as_of: datetime | None = None
    profits: tuple[ProfitCell, ...] = ()
    missing: str = ""
    rate: Decimal | None = None
    is_par: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PortfolioLive:
    """Region of `fragments/portfolio/_live.html`: everything but the curve. Without accounts, or without a reading, it says what to do."""

    headline: Headline
    allocation: Allocation
    holdings: Holdings
    positions: Region[PositionRow]
    results: Results
    flows: Flows
    has_accounts: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowMark:
    """A flow as the curve marks it; `value` in the curve's currency."""

    time: datetime
    value: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A period that can be chosen: its key (`1d`) and where it is."""

    key: str
    href: str
    is_chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveView:
    """Fragment `_curve.html`. `earned` is the time-weighted return of the period, a fraction; points oldest first."""

    currency: str
    decimals: int
    points: tuple[EquityPoint, ...] = ()
    marks: tuple[FlowMark, ...] = ()
    periods: tuple[Period, ...] = ()
    earned: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountChoice:
    """An account that can be chosen."""

    id: str
    name: str
    is_chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PortfolioView:
    """Page `pages/portfolio/portfolio.html`. No account chosen means all of them."""

    shell: Shell
    live: PortfolioLive
    curve: CurveView
    period: str = "30d"
    accounts: tuple[AccountChoice, ...] = field(default_factory=tuple)
