"""The page of symbols: what an exchange lists, and how its updates went."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from app.ui.views.shell import Choice, Shell

Who = Literal["me", "somebody", "night"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateRow:
    """The latest update of one exchange.

    `at` is when it ended, or began while it runs. `done` of `total` are stored; `total` is 0 until the exchange has answered. `names` are
    the first symbols behind each count, as (added, updated or removed, symbols); `reason` says in words why it failed.
    """

    id: str
    exchange: str
    name: str
    state: str
    phase: str
    who: Who
    at: datetime
    done: int = 0
    total: int = 0
    added: int = 0
    updated: int = 0
    removed: int = 0
    names: tuple[tuple[str, str], ...] = ()
    code: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateList:
    """Updates, those that run first, region of `fragments/symbols/_updates.html`."""

    rows: tuple[UpdateRow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolRow:
    """One symbol with its rules; None where the exchange sets no bound."""

    symbol: str
    base: str
    quote: str
    tick: Decimal
    step: Decimal
    min_quantity: Decimal | None = None
    min_notional: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolList:
    """A page of an exchange's symbols, region of `fragments/symbols/_symbols.html`.

    `total` is how many trade there, None when nothing is known of the exchange. `next` and `first` are addresses, "" where there is none.
    """

    name: str
    rows: tuple[SymbolRow, ...] = ()
    total: int | None = None
    next: str = ""
    first: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotes:
    """The quote assets with most symbols, region of `fragments/symbols/_quotes.html`; `chosen` is "" for all."""

    rows: tuple[str, ...] = ()
    chosen: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolsView:
    """Page `pages/symbols/symbols.html`."""

    shell: Shell
    exchange: str
    exchanges: tuple[Choice, ...]
    untested: tuple[Choice, ...]
    symbols: SymbolList
    updates: UpdateList
    quotes: Quotes
    search: str = ""
