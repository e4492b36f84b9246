"""The form of a new backtest: what it offers, and what is read out of it."""

from calendar import monthrange
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from uuid import UUID

import msgspec
from fastapi import FastAPI

from app.backtests.making import Backtests
from app.backtests.models import LONGEST_NOTE, Backtest
from app.backtests.wish import BacktestWish, Options, wish_of
from app.brokers.models import Broker
from app.brokers.service import list_brokers
from app.core.db import Database
from app.core.i18n import N_, gettext
from app.domain.candles import Timeframe
from app.domain.instruments import plain
from app.domain.safeguards import NO_SAFEGUARDS
from app.domain.ticket import USUAL_FEES
from app.errors import AppError
from app.marketdata.queries import first_stored
from app.sandbox.messages import Described, Value
from app.strategies import versions
from app.strategies.models import Strategy, StrategyVersion
from app.strategies.service import get_strategy
from app.trading.fees import fee_terms
from app.ui.backtests import strategy_choices
from app.ui.safeguard_form import TypedSafeguards, fields_of, read_fields, safeguard_form
from app.ui.strategies import on_one_line
from app.ui.strategy_editor import parameter_form, validity_of, written
from app.ui.strategy_parameters import parameter_values
from app.ui.symbols import book_of, exchange_name
from app.ui.views.backtests import BacktestFields, BacktestForm, SymbolOptions
from app.ui.views.shell import Choice

_MOST_VERSIONS: Final = 100
_MOST_SYMBOLS: Final = 20
_LONGEST: Final = 40
_USUAL_MONTHS: Final = 6
_PERCENT: Final = Decimal(100)
_BASIS_POINTS: Final = Decimal(10_000)
_NOT_A_NUMBER: Final = N_("That is not a number.")
_OUTSIDE: Final = N_("That is outside its bounds.")
_NOT_A_DATE: Final = N_("That is not a date.")
_VALIDITY: Final = {
    "valid": N_("valid"),
    "look_ahead": N_("looks ahead"),
    "invalid": N_("not valid"),
    "unknown": N_("not validated"),
}
#: What the fields of a wish are called here.
_FIELDS: Final = {"start_at": "since", "end_at": "until", "fee": "taker", "maker_fee": "maker", "source": "version", "broker_id": "account"}
#: Least and most of each number, as it is typed.
_BOUNDS: Final[dict[str, tuple[Decimal, Decimal]]] = {
    "capital": (Decimal("0.01"), Decimal(10) ** 12),
    "taker": (Decimal(0), Decimal(10)),
    "maker": (Decimal(-1), Decimal(10)),
    "slippage": (Decimal(0), Decimal(1000)),
    "volume_share": (Decimal(0), Decimal(100)),
    "funding": (Decimal(-5), Decimal(5)),
}


class TypedBacktest(TypedSafeguards):
    """What the form sends besides the parameters."""

    strategy: str = ""
    version: str = ""
    account: str = ""
    symbol: str = ""
    timeframe: str = ""
    since: str = ""
    until: str = ""
    capital: str = ""
    taker: str = ""
    maker: str = ""
    slippage: str = ""
    volume_share: str = ""
    funding: str = ""
    note: str = ""
    detail: bool = False
    copied: int = 0

    def fields(self) -> BacktestFields:
        """Return what was typed, none of it longer than its field."""
        given = self.model_dump(include=set(BacktestFields.__dataclass_fields__) - {"detail", "note", "safeguards"})
        typed = {name: value.strip()[:_LONGEST] for name, value in given.items()}
        safeguards = self.safeguard_fields()
        return BacktestFields(**typed, note=on_one_line(self.note)[:LONGEST_NOTE], detail=self.detail, safeguards=safeguards)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the form is to show: what was typed, what of the parameters, and what is wrong."""

    fields: BacktestFields
    typed: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    parameter_errors: Mapping[str, str] = field(default_factory=dict)
    copied: int = 0


@dataclass(frozen=True, slots=True)
class FormMaker:
    """Makes the form for one user."""

    app: FastAPI
    database: Database
    user_id: UUID

    @property
    def _backtests(self) -> Backtests:
        found: Backtests = self.app.state.backtests
        return found

    async def fresh(self, *, strategy: str = "", version: str = "") -> BacktestForm:
        """Return the form as somebody meets it who has typed nothing: the usual account, market and period."""
        async with self.database.transaction() as session:
            choices = await strategy_choices(session, self.user_id)
            accounts = await list_brokers(session, self.user_id)
            chosen = strategy if _uuid(strategy) else choices[0].value if choices else ""
            found = await get_strategy(session, self.user_id, UUID(chosen)) if chosen else None
        account = next((one for one in accounts if one.is_default), None)
        today = self.app.state.clock.now().date()
        fields = BacktestFields(
            strategy=chosen,
            version=version,
            account="" if account is None else str(account.id),
            symbol=self._symbol(found, account),
            timeframe="" if found is None else found.timeframe or "",
            since=months_before(today, _USUAL_MONTHS).isoformat(),
            until=today.isoformat(),
        )
        return await self.form(Asked(fields=await self.with_fees(fields)))

    def _symbol(self, strategy: Strategy | None, account: Broker | None) -> str:
        followed = self.app.state.heartbeat.symbols
        known = (strategy and strategy.symbol, account and account.last_symbol, followed[0] if followed else "")
        return next((one for one in known if one), "")

    async def copy(self, backtest: Backtest, number: int) -> BacktestForm:
        """Return the form filled with what a backtest was made of; `number` is that of its version."""
        wish = wish_of(backtest, number)
        return await self.form(Asked(fields=_fields_of(wish), typed=_typed_of(wish), copied=backtest.number))

    async def with_fees(self, fields: BacktestFields) -> BacktestFields:
        """Return what was typed with the fees of the account."""
        account = _uuid(fields.account)
        rates = USUAL_FEES.rates if account is None else (await fee_terms(self.app.state.desk, self.user_id, account)).rates
        return replace(fields, taker=plain(rates.taker * _PERCENT), maker=plain(rates.maker * _PERCENT))

    async def form(self, asked: Asked) -> BacktestForm:
        """Return the form with what was typed, and what can be chosen beside it."""
        fields = asked.fields
        strategy_id = _uuid(fields.strategy)
        async with self.database.transaction() as session:
            strategies = await strategy_choices(session, self.user_id)
            accounts = await list_brokers(session, self.user_id)
            rows = [] if strategy_id is None else await versions.list_versions(session, self.user_id, strategy_id, limit=_MOST_VERSIONS)
            strategy = None if strategy_id is None else await get_strategy(session, self.user_id, strategy_id)
        if strategy is not None and str(strategy.id) not in {one.value for one in strategies}:
            strategies = (*strategies, Choice(value=str(strategy.id), label=strategy.name))
        if rows and fields.version not in {str(one.number) for one in rows}:
            fields = replace(fields, version=str(rows[0].number))
        described, errors = await self._described(fields, dict(asked.errors))
        exchange, quote = self.exchange_of(fields.account, accounts), fields.symbol.partition("/")[2].upper()
        return BacktestForm(
            fields=fields,
            strategies=strategies,
            versions=tuple(version_choice(one) for one in rows),
            accounts=(self._without_account(), *(_account_choice(one) for one in accounts)),
            timeframes=tuple(one.value for one in Timeframe),
            presets=await self._presets(exchange, fields.symbol),
            parameters=parameter_form(described, typed=asked.typed, errors=asked.parameter_errors),
            own_timeframe="" if described is None else described.timeframe,
            safeguards=safeguard_form("backtest", fields.safeguards, errors=errors, quote=quote),
            quote=quote,
            has_draft=strategy is not None and strategy.draft is not None,
            copied=asked.copied,
            errors=errors,
        )

    async def _described(self, fields: BacktestFields, errors: dict[str, str]) -> tuple[Described | None, dict[str, str]]:
        try:
            return await self.described(fields), errors
        except AppError as error:
            return None, {"version": error.message} | errors

    async def described(self, fields: BacktestFields) -> Described | None:
        """Return what the chosen version says of itself; None where none is chosen.

        Raises:
            VersionNotFound: there is no such version of this user.
            StrategyFailed: its code fails before it says it.
        """
        strategy_id, number = _uuid(fields.strategy), _whole(fields.version)
        if strategy_id is None or number is None:
            return None
        async with self.database.transaction() as session:
            version = await versions.get_version(session, self.user_id, strategy_id, number)
        if version.described is not None:
            return msgspec.convert(version.described, Described)
        return await self._backtests.quick.describe(self.user_id, version.source)

    async def read(self, fields: BacktestFields, typed: Mapping[str, str]) -> tuple[BacktestWish | None, Asked]:
        """Return what is wished for, or None and what is wrong."""
        reading = _Reading(fields)
        described: Described | None = None
        values: dict[str, Value] = {}
        wrong: dict[str, str] = {}
        try:
            described = await self.described(fields)
        except AppError as error:
            reading.errors["version"] = error.message
        if described is not None:
            values, wrong = parameter_values(described, typed)
        wish = reading.wish()
        asked = Asked(fields=fields, typed=typed, errors=reading.errors, parameter_errors=wrong)
        return (None, asked) if wish is None or wrong else (replace(wish, parameters=values), asked)

    async def symbols(self, fields: BacktestFields) -> SymbolOptions:
        """Return symbols of the chosen account's exchange that fit what was typed."""
        async with self.database.transaction() as session:
            accounts = await list_brokers(session, self.user_id)
        found = await book_of(self.app).stored(self.exchange_of(fields.account, accounts))
        rows = () if found is None else found.page(search=fields.symbol, quote="", after=None, limit=_MOST_SYMBOLS).rows
        return SymbolOptions(rows=tuple(one.symbol for one in rows))

    def exchange_of(self, account: str, accounts: list[Broker]) -> str:
        """Return the exchange whose candles are taken."""
        found = next((one.exchange for one in accounts if str(one.id) == account), self._backtests.feed)
        return book_of(self.app).source(found)

    def _without_account(self) -> Choice:
        return Choice(value="", label=gettext("No account: %(name)s, usual fees") % {"name": exchange_name(self._backtests.feed)})

    async def _presets(self, exchange: str, symbol: str) -> tuple[Choice, ...]:
        today = self.app.state.clock.now().date()
        found = [
            (months_before(today, 3), gettext("3 m")),
            (months_before(today, 6), gettext("6 m")),
            (date(today.year, 1, 1), gettext("YTD")),
            (months_before(today, 12), gettext("1 y")),
        ]
        first = await first_stored(self.app.state.platform_database, exchange, symbol)
        if first is not None:
            found.append((first.date(), gettext("All")))
        return tuple(Choice(value=day.isoformat(), label=label) for day, label in found)


def refused(asked: Asked, error: AppError) -> Asked:
    """Return what is to be shown after a wish was refused: the sentence stands at the field it is about."""
    name = _FIELDS.get(error.field or "", error.field or "")
    known = name in BacktestFields.__dataclass_fields__
    return replace(asked, errors={name if known else "": error.message})


class _Reading:
    """Reads a form; what cannot be read is in `errors`, by field."""

    def __init__(self, fields: BacktestFields) -> None:
        self._fields = fields
        self.errors: dict[str, str] = {}

    def wish(self) -> BacktestWish | None:
        """Return what is wished for, without the parameters; None where something cannot be read."""
        fields = self._fields
        strategy = _uuid(fields.strategy)
        if strategy is None:
            self.errors["strategy"] = N_("Choose a strategy.")
        if len(fields.symbol) < 2:
            self.errors["symbol"] = N_("Choose a symbol.")
        since, until = self._day("since"), self._day("until")
        taker, maker = self._number("taker"), self._number("maker")
        capital, slippage = self._number("capital", is_needed=True), self._number("slippage", is_needed=True)
        share, funding = self._number("volume_share"), self._number("funding")
        safeguards, wrong = read_fields(fields.safeguards, "backtest")
        self.errors |= wrong
        if self.errors or strategy is None or since is None or until is None or capital is None or slippage is None:
            return None
        return BacktestWish(
            strategy_id=strategy,
            version=_whole(fields.version),
            broker_id=_uuid(fields.account),
            symbol=fields.symbol,
            timeframe=fields.timeframe or None,
            start_at=since,
            end_at=until + timedelta(days=1),
            capital=capital,
            fee=None if taker is None else taker / _PERCENT,
            maker_fee=None if maker is None else maker / _PERCENT,
            slippage=slippage / _BASIS_POINTS,
            note=fields.note,
            options=Options(
                volume_share=float((share or 0) / _PERCENT),
                funding_rate=float((funding or 0) / _PERCENT),
                is_detailed=fields.detail,
                safeguards=safeguards or NO_SAFEGUARDS,
            ),
        )

    def _number(self, name: str, *, is_needed: bool = False) -> Decimal | None:
        text = getattr(self._fields, name).replace(",", ".")
        if not text and not is_needed:
            return None
        try:
            value = Decimal(text)
        except InvalidOperation:
            self.errors[name] = _NOT_A_NUMBER
            return None
        least, most = _BOUNDS[name]
        if not value.is_finite() or not least <= value <= most:
            self.errors[name] = _OUTSIDE
            return None
        return value

    def _day(self, name: str) -> datetime | None:
        try:
            return datetime.combine(date.fromisoformat(getattr(self._fields, name)), time(), UTC)
        except ValueError:
            self.errors[name] = _NOT_A_DATE
            return None


def _fields_of(wish: BacktestWish) -> BacktestFields:
    def percent(value: float) -> str:
        return plain(Decimal(repr(value)) * _PERCENT) if value else ""

    return BacktestFields(
        strategy=str(wish.strategy_id),
        version=str(wish.version or ""),
        account=str(wish.broker_id or ""),
        symbol=wish.symbol,
        timeframe=wish.timeframe or "",
        since=wish.start_at.astimezone(UTC).date().isoformat(),
        # The form's last day is part of it.
        until=(wish.end_at.astimezone(UTC) - timedelta(microseconds=1)).date().isoformat(),
        capital=plain(wish.capital),
        taker="" if wish.fee is None else plain(wish.fee * _PERCENT),
        maker="" if wish.maker_fee is None else plain(wish.maker_fee * _PERCENT),
        slippage=plain(wish.slippage * _BASIS_POINTS),
        volume_share=percent(wish.options.volume_share),
        funding=percent(wish.options.funding_rate),
        detail=wish.options.is_detailed,
        safeguards=fields_of(wish.options.safeguards),
        note=wish.note,
    )


def _typed_of(wish: BacktestWish) -> dict[str, str]:
    values: dict[str, Any] = dict(wish.parameters)
    return {name: written(value) for name, value in values.items()}


def version_choice(version: StrategyVersion) -> Choice:
    """Return a version as it can be chosen, with what is known of it."""
    words = [str(version.number), gettext(_VALIDITY[validity_of(version)]), version.note]
    return Choice(value=str(version.number), label=" · ".join(word for word in words if word))


def _account_choice(account: Broker) -> Choice:
    return Choice(value=str(account.id), label=f"{account.name} · {exchange_name(account.exchange)}")


def months_before(day: date, months: int) -> date:
    """Return the day so many months before, or that month's last one."""
    year, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def _uuid(given: str) -> UUID | None:
    try:
        return UUID(given) if given else None
    except ValueError:
        return None


def _whole(given: str) -> int | None:
    return int(given) if given.isdecimal() and given.isascii() and len(given) < 8 else None
