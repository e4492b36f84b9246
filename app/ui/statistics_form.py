"""What the page of statistics is asked, as its address says; what nobody could mean asks for nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from app.core.formatters import timezone
from app.core.i18n import N_, gettext
from app.domain.enums import Source
from app.statistics.queries import Names
from app.statistics.wish import Mode, StatisticsFilter
from app.ui.labels import label
from app.ui.moments import moment_of
from app.ui.views import Choice, RangeLink, Reader, Select
from app.ui.views.statistics import StatisticsForm

_PAGE: Final = "/statistics"
_CUSTOM: Final = "custom"
_YEAR_TO_DATE: Final = "ytd"
_DEFAULT: Final = "90d"
_MOST_TEXT: Final = 60
#: What one click chooses; None is all of it.
RANGES: Final[dict[str, tuple[str, timedelta | None]]] = {
    "7d": (N_("7 d"), timedelta(days=7)),
    "30d": (N_("30 d"), timedelta(days=30)),
    _DEFAULT: (N_("90 d"), timedelta(days=90)),
    _YEAR_TO_DATE: (N_("This year"), None),
    "1y": (N_("1 year"), timedelta(days=365)),
    "all": (N_("All"), None),
}
MODES: Final = {Mode.LIVE: N_("Real money"), Mode.PAPER: N_("Paper"), Mode.TESTNET: N_("Testnet")}
_FILTERS: Final = ("broker", "strategy", "symbol", "source", "bot", "webhook")


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsQuestion:
    """The values of the address."""

    range: str = ""
    since: str = ""
    until: str = ""
    mode: str = ""
    broker: str = ""
    strategy: str = ""
    symbol: str = ""
    source: str = ""
    bot: str = ""
    webhook: str = ""

    @property
    def chosen(self) -> str:
        """The range: days that were typed, else one of RANGES."""
        if self.since or self.until:
            return _CUSTOM
        return self.range if self.range in RANGES else _DEFAULT

    @property
    def is_filtered(self) -> bool:
        """Whether anything but time and mode is asked for."""
        return any(getattr(self, name) for name in _FILTERS)

    def which(self, names: Names, reader: Reader, now: datetime) -> StatisticsFilter:
        """Return the filter. Without a mode it is that of the account that is named, else real money."""
        broker = _uuid(self.broker)
        brokers = () if broker is None else (broker,)
        since, until = self._bounds(reader, now)
        return StatisticsFilter(
            mode=Mode(self.mode) if self.mode in set(Mode) else names.mode_of(brokers),
            since=since,
            until=until,
            broker_ids=brokers,
            strategy_id=_uuid(self.strategy),
            symbol=_printable(self.symbol),
            source=Source(self.source) if self.source in set(Source) else None,
            bot_id=_uuid(self.bot),
            webhook_id=_uuid(self.webhook),
            zone=timezone(reader.timezone),
        )

    def _bounds(self, reader: Reader, now: datetime) -> tuple[datetime | None, datetime | None]:
        if self.chosen == _CUSTOM:
            return moment_of(self.since, reader), moment_of(self.until, reader, is_end=True)
        if self.chosen == _YEAR_TO_DATE:
            zone = timezone(reader.timezone)
            first = now.astimezone(zone).date().replace(month=1, day=1)
            return datetime.combine(first, time(), zone).astimezone(UTC), None
        length = RANGES[self.chosen][1]
        return None if length is None else now - length, None

    def address(self, base: str = _PAGE, **changed: str) -> str:
        """Return the address at which the same is asked, but for what is changed."""
        values = {name: changed.get(name, getattr(self, name)) for name in self.__slots__}
        asked = urlencode({name: value for name, value in values.items() if value})
        return f"{base}?{asked}" if asked else base

    def cleared(self, **changed: str) -> str:
        """Return the address that asks for the same time of the same mode, without any filter."""
        return self.address(**(dict.fromkeys(_FILTERS, "") | changed))


def api_query(asked: StatisticsFilter) -> str:
    """Return the filter as the API takes it."""
    values: list[tuple[str, object]] = [("mode", asked.mode.value), *(("broker_id", broker_id) for broker_id in asked.broker_ids)]
    values += [
        ("start", asked.since and asked.since.isoformat()),
        ("end", asked.until and asked.until.isoformat()),
        ("strategy_id", asked.strategy_id),
        ("symbol", asked.symbol),
        ("source", asked.source and asked.source.value),
        ("bot_id", asked.bot_id),
        ("webhook_id", asked.webhook_id),
        ("timezone", asked.zone),
    ]
    return urlencode([(name, str(value)) for name, value in values if value])


def form_of(question: StatisticsQuestion, asked: StatisticsFilter, names: Names, symbols: list[str], reader: Reader) -> StatisticsForm:
    """Return the filter as the page shows it."""
    has_testnet = any(account.mode is Mode.TESTNET for account in names.accounts)
    modes = [mode for mode in MODES if mode is not Mode.TESTNET or has_testnet or asked.mode is mode]
    return StatisticsForm(
        # An account belongs to one mode: another one's is not asked for any longer.
        modes=tuple(
            RangeLink(label=gettext(MODES[mode]), href=question.address(mode=mode.value, broker=""), is_current=mode is asked.mode)
            for mode in modes
        ),
        ranges=tuple(
            RangeLink(label=gettext(words), href=question.address(range=name, since="", until=""), is_current=question.chosen == name)
            for name, (words, _) in RANGES.items()
        ),
        selects=_selects(question, asked, names),
        symbol=_printable(question.symbol),
        symbols=tuple(symbols),
        since=question.since,
        until=question.until,
        timezone=reader.timezone,
        hidden=tuple(
            (name, value)
            for name, value in (("range", question.range if question.range in RANGES else ""), ("mode", asked.mode.value))
            if value
        ),
        clear=question.cleared() if question.is_filtered else "",
    )


def _selects(question: StatisticsQuestion, asked: StatisticsFilter, names: Names) -> tuple[Select, ...]:
    accounts = {str(account.id): account.name for account in names.accounts if account.mode is asked.mode}
    offered: tuple[tuple[str, str, Mapping[str, str]], ...] = (
        ("broker", gettext("Account"), accounts),
        ("source", gettext("Source"), {source.value: label(source.value) for source in Source}),
        ("strategy", gettext("Strategy"), {str(key): name for key, name in names.strategies.items()}),
        ("bot", gettext("Bot"), {str(bot.id): f"#{bot.number} {bot.name}" for bot in names.bots.values()}),
        ("webhook", gettext("Webhook"), {str(key): name for key, name in names.webhooks.items()}),
    )
    return tuple(
        Select(
            name=name,
            label=words,
            choices=tuple(Choice(value=value, label=shown) for value, shown in choices.items()),
            value=getattr(question, name),
        )
        for name, words, choices in offered
        if choices
    )


def _uuid(given: str) -> UUID | None:
    try:
        return UUID(given) if given else None
    except ValueError:
        return None


def _printable(text: str) -> str:
    return "".join(character for character in text if character.isprintable())[:_MOST_TEXT].strip()
