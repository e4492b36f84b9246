"""Settings of a webhook between its form and its rules. A form sends text; what cannot be used comes back beside its field."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import time
from decimal import Decimal
from typing import Any, Final, TypeVar
from uuid import UUID

from pydantic import BaseModel

from app.brokers.models import Broker
from app.core.i18n import N_, gettext
from app.domain.candles import LIVE_TIMEFRAMES, Timeframe
from app.domain.instruments import plain
from app.errors import InvalidInput
from app.ui.views import Choice, DayChoice, HookFields, HookForm
from app.ui.wishes import SIZES
from app.webhooks.alert import SizeKind
from app.webhooks.models import Webhook
from app.webhooks.rules import DefaultSize, HookRules, Hours
from app.webhooks.senders import TRADINGVIEW, read_senders

_T = TypeVar("_T")
#: No grouping marks, one mark of decimals: a number that could mean two things is refused.
_NUMBER: Final = re.compile(r"\d{1,13}([.,]\d{0,18})?")
_WHOLE: Final = re.compile(r"\d{1,6}")
_LARGEST: Final = Decimal(10) ** 12
_LONGEST_NAME: Final = 60
_LONGEST_AGE_S: Final = 86_400
_MOST_PER_MINUTE: Final = 6000
_MOST_SYMBOLS: Final = 200
_LONGEST_SYMBOL: Final = 40
_COUNTED: Final = (SizeKind.BASE, SizeKind.QUOTE)
_DAYS: Final = (N_("Mon"), N_("Tue"), N_("Wed"), N_("Thu"), N_("Fri"), N_("Sat"), N_("Sun"))
_SIDES: Final[dict[str, tuple[Any, ...] | None]] = {"": None, "buy": ("buy",), "sell": ("sell",)}


class TypedHook(BaseModel):
    """What the forms send: each field as text, switches as "true"."""

    name: str = ""
    account: str = ""
    interval: str = ""
    max_age_s: str = "60"
    per_minute: str = "120"
    allowed_ips: str = ""
    symbol: str = ""
    size_kind: str = ""
    size_value: str = ""
    always_default_size: str = ""
    stop_percent: str = ""
    target_percent: str = ""
    trailing_percent: str = ""
    symbols: str = ""
    sides: str = ""
    max_notional: str = ""
    hours_on: str = ""
    hours_start: str = "00:00"
    hours_end: str = "23:59"
    days: list[str] = []
    other_accounts: str = ""

    def shown(self) -> HookFields:
        """Return the same as the form shows it again."""
        switches = ("always_default_size", "hours_on", "other_accounts")
        values = {one.name: getattr(self, one.name) for one in fields(HookFields)}
        values |= {name: getattr(self, name) == "true" for name in switches}
        return HookFields(**{**values, "days": tuple(self.days)})


@dataclass(frozen=True, slots=True, kw_only=True)
class HookSettings:
    """Settings as the service takes them."""

    name: str
    broker_id: UUID | None
    rules: HookRules
    allowed_ips: list[str] | None
    max_age_s: int
    per_minute: int
    interval: Timeframe | None


class FormErrors(Exception):
    """Fields that cannot be used, with their sentences."""

    def __init__(self, errors: dict[str, str]) -> None:
        super().__init__(", ".join(errors))
        self.errors = errors


def read_hook(typed: TypedHook) -> HookSettings:
    """Return the settings that a form asks for.

    Raises:
        FormErrors: with a sentence for each field that cannot be used.
    """
    errors: dict[str, str] = {}

    def read(name: str, how: Callable[[str], _T], default: _T) -> _T:
        try:
            return how(getattr(typed, name).strip())
        except InvalidInput as error:
            errors[name] = error.message
            return default

    size = read("size_value", lambda text: _size(typed.size_kind, text), None)
    rules = HookRules(
        symbol=read("symbol", _symbol, None),
        size=size,
        always_default_size=typed.always_default_size == "true" and size is not None,
        stop_percent=read("stop_percent", _fraction, None),
        target_percent=read("target_percent", _fraction, None),
        trailing_percent=read("trailing_percent", _fraction, None),
        symbols=read("symbols", _symbols, None),
        sides=_SIDES.get(typed.sides),
        max_notional=read("max_notional", _amount, None),
        hours=_hours(typed, errors) if typed.hours_on == "true" else None,
        other_accounts=typed.other_accounts == "true",
    )
    settings = HookSettings(
        name=read("name", _name, ""),
        broker_id=read("account", _broker, None),
        rules=rules,
        allowed_ips=read("allowed_ips", _senders, None),
        max_age_s=read("max_age_s", lambda text: _whole(text, most=_LONGEST_AGE_S), 60),
        per_minute=read("per_minute", lambda text: _whole(text, most=_MOST_PER_MINUTE), 120),
        interval=Timeframe(typed.interval) if typed.interval in set(LIVE_TIMEFRAMES) else None,
    )
    if errors:
        raise FormErrors(errors)
    return settings


def _name(text: str) -> str:
    if not text:
        raise InvalidInput(gettext("This field is needed."))
    return text[:_LONGEST_NAME]


def _broker(text: str) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError as error:
        raise InvalidInput(gettext("Choose one of your broker accounts.")) from error


def _amount(text: str) -> Decimal | None:
    if not text:
        return None
    if not _NUMBER.fullmatch(text) or not 0 < (number := Decimal(text.replace(",", "."))) <= _LARGEST:
        raise InvalidInput(gettext("This must be a number above 0, such as 0.01, without spaces."))
    return number


def _fraction(text: str) -> Decimal | None:
    number = _amount(text)
    if number is None:
        return None
    if number > 100:
        raise InvalidInput(gettext("This must be a percentage above 0 and at most 100."))
    return number / 100


def _size(kind: str, text: str) -> DefaultSize | None:
    if kind not in set(SizeKind):
        if text:
            raise InvalidInput(gettext("Say what this number is counted in."))
        return None
    found = _amount(text) if SizeKind(kind) in _COUNTED else _fraction(text)
    if found is None:
        raise InvalidInput(gettext("How much?"))
    return DefaultSize(kind=SizeKind(kind), value=found)


def _symbol(text: str) -> str | None:
    if len(text) > _LONGEST_SYMBOL or re.search(r"[^\w/:.-]", text):
        raise InvalidInput(gettext("This is no symbol. Write it like BTC/USDT."))
    return text.upper() or None


def _symbols(text: str) -> tuple[str, ...] | None:
    found = tuple(dict.fromkeys(_symbol(word) or "" for word in re.split(r"[\s,;]+", text) if word))
    if len(found) > _MOST_SYMBOLS:
        raise InvalidInput(gettext("These are too many symbols."))
    return found or None


def _senders(text: str) -> list[str] | None:
    words = [word for word in re.split(r"[\s,;]+", text) if word]
    return read_senders(words) if words else None


def _whole(text: str, *, most: int) -> int:
    if not _WHOLE.fullmatch(text) or not 1 <= int(text) <= most:
        raise InvalidInput(gettext("This must be a whole number from 1 to %(most)s.") % {"most": most})
    return int(text)


def _hours(typed: TypedHook, errors: dict[str, str]) -> Hours | None:
    try:
        start, end = time.fromisoformat(typed.hours_start), time.fromisoformat(typed.hours_end)
    except ValueError:
        errors["hours"] = gettext("Write times like 09:30.")
        return None
    days = tuple(sorted({int(day) for day in typed.days if day in "0123456" and len(day) == 1}))
    if not days:
        errors["hours"] = gettext("Choose at least one day.")
        return None
    return Hours(days=days, start=start, end=end)


def fields_of(webhook: Webhook) -> HookFields:
    """Return a webhook's settings as its form shows them."""
    rules = HookRules.model_validate(webhook.rules)
    hours = rules.hours
    return HookFields(
        name=webhook.name,
        account=str(webhook.broker_id or ""),
        interval=webhook.interval or "",
        max_age_s=str(webhook.max_age_s),
        per_minute=str(webhook.per_minute),
        allowed_ips=" ".join(webhook.allowed_ips or ()),
        symbol=rules.symbol or "",
        size_kind=rules.size.kind.value if rules.size else "",
        size_value="" if rules.size is None else plain(rules.size.value * (1 if rules.size.kind in _COUNTED else 100)),
        always_default_size=rules.always_default_size,
        stop_percent=_percent(rules.stop_percent),
        target_percent=_percent(rules.target_percent),
        trailing_percent=_percent(rules.trailing_percent),
        symbols=" ".join(rules.symbols or ()),
        sides=rules.sides[0] if rules.sides and len(rules.sides) == 1 else "",
        max_notional="" if rules.max_notional is None else plain(rules.max_notional),
        hours_on=hours is not None,
        hours_start="00:00" if hours is None else hours.start.strftime("%H:%M"),
        hours_end="23:59" if hours is None else hours.end.strftime("%H:%M"),
        days=HookFields().days if hours is None else tuple(str(day) for day in hours.days),
        other_accounts=rules.other_accounts,
    )


def _percent(fraction: Decimal | None) -> str:
    return "" if fraction is None else plain(fraction * 100)


def hook_form(
    accounts: Sequence[Broker],
    given: HookFields | None = None,
    *,
    webhook: Webhook | None = None,
    warning: str | None = None,
    errors: dict[str, str] | None = None,
) -> HookForm:
    """Return the form of a new webhook, or of the settings of one there is; `warning` is what of them has no effect."""
    shown = given or (HookFields() if webhook is None else fields_of(webhook))
    default = next((account.name for account in accounts if account.is_default), "")
    follows = gettext("The default account (now %(name)s)") % {"name": default}
    return HookForm(
        brokers=(Choice(value="", label=follows), *(Choice(value=str(account.id), label=account.name) for account in accounts))
        if accounts
        else (),
        intervals=(
            Choice(value="", label=gettext("none is expected")),
            *(Choice(value=timeframe.value, label=timeframe.value) for timeframe in LIVE_TIMEFRAMES),
        ),
        sizes=(Choice(value="", label=gettext("none")), *size_choices()),
        days=tuple(DayChoice(value=str(day), label=gettext(name), is_on=str(day) in shown.days) for day, name in enumerate(_DAYS)),
        fields=shown,
        id="" if webhook is None else str(webhook.id),
        title="" if webhook is None else webhook.name,
        place="hook" if webhook is None else "settings",
        tradingview=" ".join(TRADINGVIEW),
        warning=warning or "",
        errors=errors or {},
    )


def size_choices() -> tuple[Choice, ...]:
    """Return the ways of counting a size that an entry can have."""
    return tuple(Choice(value=kind.value, label=gettext(words)) for kind, words in SIZES.items() if kind is not SizeKind.POSITION)
