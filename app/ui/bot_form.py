"""The form of a new bot: what it offers, what it is filled with by a backtest or another bot, and what is read out of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from uuid import UUID

from app.backtests.models import Backtest
from app.backtests.service import backtest_numbered
from app.bots.making import Bots
from app.bots.models import LONGEST_NAME, Bot, BotMode
from app.bots.service import BotWish
from app.brokers.models import Broker
from app.brokers.service import list_brokers
from app.core.formatters import money
from app.core.i18n import N_, current_language, gettext
from app.core.ids import new_id
from app.core.sentences import said, said_with
from app.domain.candles import LIVE_TIMEFRAMES
from app.domain.instruments import plain
from app.domain.safeguards import Safeguards, plain_safeguards, read_safeguards
from app.errors import AppError, StrategyNotValid
from app.sandbox.messages import Described, Value
from app.shadow.promotion import Promotions, safeguards_of
from app.strategies import versions
from app.strategies.models import Strategy
from app.strategies.service import activatable, get_strategy
from app.trading.queries import list_balances
from app.ui.backtest_form import FormMaker, version_choice
from app.ui.backtests import strategy_choices
from app.ui.regions import Regions
from app.ui.safeguard_form import TypedSafeguards, fields_of, read_fields, safeguard_form
from app.ui.strategies import on_one_line
from app.ui.strategy_editor import parameter_form, written
from app.ui.strategy_parameters import parameter_values
from app.ui.symbols import book_of, exchange_name
from app.ui.views.backtests import BacktestFields, SymbolOptions
from app.ui.views.bot_form import BotFields, BotForm
from app.ui.views.shell import Choice

_MOST_VERSIONS: Final = 100
_MOST_SYMBOLS: Final = 20
_MOST_SEARCHED: Final = 200
_LONGEST: Final = 40
_NOT_A_NUMBER: Final = N_("That is not a number.")
_OUTSIDE: Final = N_("That is outside its bounds.")
_NOT_A_DATE: Final = N_("That is not a date.")
_MOST_CAPITAL: Final = Decimal(10) ** 12
#: What the fields of a wish are called here.
_FIELDS: Final = {"start_at": "since", "end_at": "until", "source": "version", "broker_id": "account", "mode": "account"}


class TypedBot(TypedSafeguards):
    """What the form sends besides the parameters."""

    key: str = ""
    name: str = ""
    strategy: str = ""
    version: str = ""
    account: str = ""
    ask: bool = False
    symbol: str = ""
    timeframe: str = ""
    capital: str = ""
    since: str = ""
    until: str = ""
    backtest: int = 0

    def fields(self) -> BotFields:
        """Return what was typed, none of it longer than its field."""
        names = ("strategy", "version", "account", "symbol", "timeframe", "capital", "since", "until")
        typed = {name: getattr(self, name).strip()[:_LONGEST] for name in names}
        return BotFields(**typed, name=on_one_line(self.name)[:LONGEST_NAME], ask=self.ask)


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedBot:
    """What the form is to show: what was typed, what of the parameters and safeguards, and what is wrong."""

    fields: BotFields
    key: str = ""
    typed: Mapping[str, str] = field(default_factory=dict)
    safeguards: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    parameter_errors: Mapping[str, str] = field(default_factory=dict)
    backtest: int = 0
    cloned: int = 0


@dataclass(frozen=True, slots=True)
class BotFormMaker:
    """Makes the form for one user."""

    regions: Regions

    @property
    def _app(self) -> Any:
        return self.regions.app

    @property
    def _user_id(self) -> UUID:
        return self.regions.user_id

    @property
    def _feed(self) -> str:
        bots: Bots = self._app.state.bots
        return bots.feed

    # ---- what it begins with

    async def fresh(self, *, strategy: str = "", version: str = "") -> BotForm:
        """Return the form as somebody meets it who has typed nothing."""
        async with self._app.state.database.transaction() as session:
            choices = await strategy_choices(session, self._user_id)
            accounts = _paper_first(await list_brokers(session, self._user_id))
            chosen = strategy if _uuid(strategy) else choices[0].value if choices else ""
            found = await get_strategy(session, self._user_id, UUID(chosen)) if chosen else None
        fields = BotFields(
            strategy=chosen,
            version=version,
            account=str(accounts[0].id) if accounts else "",
            symbol=self._symbol(found),
            timeframe="" if found is None or found.timeframe not in set(LIVE_TIMEFRAMES) else found.timeframe,
        )
        return await self.form(AskedBot(fields=fields))

    def _symbol(self, strategy: Strategy | None) -> str:
        followed = self._app.state.heartbeat.symbols
        return next((one for one in (strategy and strategy.symbol, *followed[:1]) if one), "")

    async def promoted(self, backtest: Backtest, version: int) -> BotForm:
        """Return the form filled with what a backtest was made of; on a paper account, if there is one."""
        async with self._app.state.database.transaction() as session:
            accounts = _paper_first(await list_brokers(session, self._user_id))
        own = [account for account in accounts if account.id == backtest.broker_id]
        papers = [account for account in accounts if account.is_paper]
        account = next(iter([*(one for one in own if one.is_paper), *papers, *own, *accounts]), None)
        fields = BotFields(
            strategy=str(backtest.strategy_id),
            version=str(version),
            account="" if account is None else str(account.id),
            symbol=backtest.symbol,
            timeframe=backtest.timeframe,
            capital=plain(backtest.capital),
        )
        typed = {name: written(value) for name, value in backtest.parameters.items()}
        safeguards = fields_of(read_safeguards(safeguards_of(backtest)))
        return await self.form(AskedBot(fields=fields, typed=typed, safeguards=safeguards, backtest=backtest.number))

    async def cloned(self, bot: Bot, version: int) -> BotForm:
        """Return the form filled with what another bot was made of; its dates are its own."""
        fields = BotFields(
            strategy=str(bot.strategy_id),
            version=str(version),
            account=str(bot.broker_id),
            ask=bot.mode == BotMode.ASK,
            symbol=bot.symbol,
            timeframe=bot.timeframe,
            capital=plain(bot.capital),
        )
        typed = {name: written(value) for name, value in bot.parameters.items()}
        safeguards = fields_of(read_safeguards(bot.safeguards))
        return await self.form(AskedBot(fields=fields, typed=typed, safeguards=safeguards, cloned=bot.number))

    # ---- what it shows

    async def form(self, asked: AskedBot) -> BotForm:
        """Return the form with what was typed, and what can be chosen beside it."""
        fields, strategy_id = asked.fields, _uuid(asked.fields.strategy)
        async with self._app.state.database.transaction() as session:
            strategies = await strategy_choices(session, self._user_id)
            accounts = _paper_first(await list_brokers(session, self._user_id))
            rows = [] if strategy_id is None else await versions.list_versions(session, self._user_id, strategy_id, limit=_MOST_VERSIONS)
            strategy = None if strategy_id is None else await get_strategy(session, self._user_id, strategy_id)
        if strategy is not None and str(strategy.id) not in {one.value for one in strategies}:
            strategies = (*strategies, Choice(value=str(strategy.id), label=strategy.name))
        if rows and fields.version not in {str(one.number) for one in rows}:
            # The newest that may trade, and where none may the newest, which says why not.
            fields = replace(fields, version=str(next((one for one in rows if one.is_valid), rows[0]).number))
        errors = dict(asked.errors)
        try:
            described = await self._described(fields)
        except AppError as error:
            described, errors = None, {"version": error.message} | errors
        account = next((one for one in accounts if str(one.id) == fields.account), None)
        quote = fields.symbol.partition("/")[2].upper()
        return BotForm(
            fields=fields,
            key=asked.key or str(new_id()),
            mode=mode_of(account, is_asking=fields.ask).value,
            env="paper" if account is None else self.regions.environment(account),
            strategies=strategies,
            versions=tuple(version_choice(one) for one in rows),
            accounts=tuple(self._account_choice(one) for one in accounts),
            timeframes=tuple(one.value for one in LIVE_TIMEFRAMES),
            parameters=parameter_form(described, typed=asked.typed, errors=asked.parameter_errors),
            safeguards=safeguard_form("bot", asked.safeguards, errors=errors, quote=quote),
            own_timeframe="" if described is None or described.timeframe not in set(LIVE_TIMEFRAMES) else described.timeframe,
            quote=quote,
            feed=exchange_name(self._feed),
            venue=self._venue(account),
            free=await self._free(account, quote),
            problem=await self._problem(fields),
            backtest=asked.backtest,
            cloned=asked.cloned,
            otherwise=await self._otherwise(asked.backtest, account),
            errors=errors,
        )

    async def _otherwise(self, number: int, account: Broker | None) -> tuple[str, ...]:
        """What a bot would do otherwise than the backtest that it is promoted from, or why it cannot be."""
        if not number:
            return ()
        promotions: Promotions = self._app.state.promotions
        async with self._app.state.database.transaction() as session:
            backtest = await backtest_numbered(session, self._user_id, number)
        try:
            offer = await promotions.offer(
                self._app.state.database, self._user_id, backtest.id, broker_id=None if account is None else account.id
            )
        except AppError as error:
            return (said(error.message),)
        return tuple(said_with(one.message, one.values) for one in offer.warnings)

    def _venue(self, account: Broker | None) -> str:
        if account is None or book_of(self._app).source(account.exchange) == self._feed:
            return ""
        return exchange_name(account.exchange)

    async def _free(self, account: Broker | None, quote: str) -> str:
        if account is None or not quote:
            return ""
        rows = await list_balances(self._app.state.database, self._user_id, broker_id=account.id)
        free = next((row["free"] for row in rows if row["asset"] == quote), None)
        if free is None:
            return ""
        return gettext("%(amount)s are free on this account.") % {"amount": money(free, quote, language=current_language())}

    def _account_choice(self, account: Broker) -> Choice:
        env = self.regions.environment(account)
        words = gettext("play money") if env == "paper" else gettext("real money") if env == "live" else gettext("no real money")
        return Choice(value=str(account.id), label=f"{account.name} · {exchange_name(account.exchange)} · {words}")

    async def _described(self, fields: BotFields) -> Described | None:
        maker = FormMaker(self._app, self._app.state.database, self._user_id)
        return await maker.described(BacktestFields(strategy=fields.strategy, version=fields.version))

    async def symbols(self, fields: BotFields) -> SymbolOptions:
        """Return symbols that fit what was typed and are listed where it decides as well as where it trades."""
        book = book_of(self._app)
        feed = await book.stored(self._feed)
        if feed is None:
            return SymbolOptions()
        async with self._app.state.database.transaction() as session:
            accounts = await list_brokers(session, self._user_id)
        account = next((one for one in accounts if str(one.id) == fields.account), None)
        venue = self._feed if account is None else book.source(account.exchange)
        traded = None if venue == self._feed else await book.stored(venue)
        rows = feed.page(search=fields.symbol, quote="", after=None, limit=_MOST_SYMBOLS if traded is None else _MOST_SEARCHED).rows
        names = [one.symbol for one in rows if traded is None or book.cached(venue, one.symbol) is not None]
        return SymbolOptions(rows=tuple(names[:_MOST_SYMBOLS]))

    # ---- what is read out of it

    async def read(self, given: TypedBot, typed: Mapping[str, str]) -> tuple[BotWish | None, AskedBot]:
        """Return what is wished for, or None and what is wrong."""
        fields = given.fields()
        async with self._app.state.database.transaction() as session:
            accounts = await list_brokers(session, self._user_id)
        reading = _Reading(fields)
        safeguards, wrong_safeguards = read_fields(given.safeguard_fields(), "bot")
        reading.errors |= wrong_safeguards
        values: dict[str, Value] = {}
        wrong: dict[str, str] = {}
        try:
            described = await self._described(fields)
            await self._check_version(fields)
        except AppError as error:
            reading.errors["version"] = error.message
        else:
            if described is not None:
                values, wrong = parameter_values(described, typed)
        wish = reading.wish(next((one for one in accounts if str(one.id) == fields.account), None), safeguards)
        asked = AskedBot(
            fields=fields,
            key=given.key[:_LONGEST],
            typed=typed,
            safeguards=given.safeguard_fields(),
            errors=reading.errors,
            parameter_errors=wrong,
            backtest=given.backtest,
        )
        return (
            (None, asked)
            if wish is None or wrong
            else (replace(wish, parameters=values, idempotency_key=given.key[:_LONGEST] or None), asked)
        )

    async def _problem(self, fields: BotFields) -> str:
        try:
            await self._check_version(fields)
        except StrategyNotValid as error:
            return error.message
        return ""

    async def _check_version(self, fields: BotFields) -> None:
        strategy_id = _uuid(fields.strategy)
        if strategy_id is None or not fields.version.isdecimal():
            return
        async with self._app.state.database.transaction() as session:
            activatable(await versions.get_version(session, self._user_id, strategy_id, int(fields.version)))


def refused(asked: AskedBot, error: AppError) -> AskedBot:
    """Return what is to be shown after a wish was refused: the sentence stands at the field it is about."""
    name = _FIELDS.get(error.field or "", error.field or "")
    known = name in BotFields.__dataclass_fields__
    return replace(asked, errors={name if known else "": error.message})


def mode_of(account: Broker | None, *, is_asking: bool) -> BotMode:
    """Return the mode that follows from an account."""
    if is_asking:
        return BotMode.ASK
    return BotMode.PAPER if account is None or account.is_paper else BotMode.LIVE


class _Reading:
    """Reads a form; what cannot be read is in `errors`, by field."""

    def __init__(self, fields: BotFields) -> None:
        self._fields = fields
        self.errors: dict[str, str] = {}

    def wish(self, account: Broker | None, safeguards: Safeguards | None) -> BotWish | None:
        """Return what is wished for, without the parameters; None where something cannot be read."""
        fields, strategy = self._fields, _uuid(self._fields.strategy)
        if strategy is None:
            self.errors["strategy"] = N_("Choose a strategy.")
        if account is None:
            self.errors["account"] = N_("Choose an account.")
        if len(fields.symbol) < 2:
            self.errors["symbol"] = N_("Choose a symbol.")
        capital = self._capital()
        since, until = self._day("since"), self._day("until")
        if self.errors or strategy is None or account is None or capital is None or safeguards is None:
            return None
        return BotWish(
            strategy_id=strategy,
            version=int(fields.version) if fields.version.isdecimal() and len(fields.version) < 8 else None,
            broker_id=account.id,
            symbol=fields.symbol,
            timeframe=fields.timeframe or None,
            mode=mode_of(account, is_asking=fields.ask),
            capital=capital,
            name=fields.name,
            start_at=since,
            end_at=None if until is None else until + timedelta(days=1),
            safeguards=plain_safeguards(safeguards),
        )

    def _capital(self) -> Decimal | None:
        try:
            value = Decimal(self._fields.capital.replace(",", "."))
        except InvalidOperation:
            self.errors["capital"] = _NOT_A_NUMBER
            return None
        if not value.is_finite() or not 0 < value <= _MOST_CAPITAL:
            self.errors["capital"] = _OUTSIDE
            return None
        return value

    def _day(self, name: str) -> datetime | None:
        text = getattr(self._fields, name)
        if not text:
            return None
        try:
            return datetime.combine(date.fromisoformat(text), time(), UTC)
        except ValueError:
            self.errors[name] = _NOT_A_DATE
            return None


def _paper_first(accounts: list[Broker]) -> list[Broker]:
    return sorted(accounts, key=lambda account: (not account.is_paper, not account.is_default))


def _uuid(given: str) -> UUID | None:
    try:
        return UUID(given) if given else None
    except ValueError:
        return None
