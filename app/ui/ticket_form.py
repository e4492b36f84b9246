"""The ticket's form: what was typed, read as numbers with one `.` or `,`, and the wish that it means. Pure."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, cast, get_args

from starlette.datastructures import ImmutableMultiDict

from app.core.i18n import gettext
from app.domain.enums import OrderType, Side, Source, TimeInForce
from app.domain.intents import OrderIntent
from app.domain.protection import ProtectionPlan, Target
from app.domain.ticket import Size, SizeBy
from app.trading.schemas import parse_decimal
from app.trading.wish import OcoPrices, Wish
from app.ui.views import ticket as views
from app.ui.views.guarding import TargetField

_NUMBER: Final = re.compile(r"\d+([.,]\d*)?|[.,]\d+")
_LONGEST: Final = 40
MOST_TARGETS: Final = 5
FEWEST_TARGETS: Final = 2
#: Where the form shows what an order's field is about, by the name that a denial gives.
_SHOWN: Final = {
    "notional": "amount",
    "trigger_price": "trigger_price",
    "stop_loss": "stop_loss",
    "take_profit": "target_price-0",
    "price": "price",
    "risk": "risk",
    "break_even_after": "break_even_after",
    "time_in_force": "time_in_force",
    "post_only": "post_only",
}
_TEXTS: Final = (
    "quantity",
    "amount",
    "percent",
    "risk",
    "price",
    "trigger_price",
    "trailing_percent",
    "stop_limit_price",
    "stop_loss",
    "bracket_limit",
    "bracket_trailing",
    "break_even_after",
)


def read_fields(form: Mapping[str, Any]) -> views.TicketFields:
    """Return what a form, or the parameters of an address, say; whatever is none of a field's values is left as it begins."""

    def text(name: str) -> str:
        value = form.get(name)
        return value.strip()[:_LONGEST] if isinstance(value, str) else ""

    def choice(name: str, known: Sequence[str], otherwise: str) -> str:
        return text(name) if text(name) in known else otherwise

    times = [each.value for each in TimeInForce]
    return views.TicketFields(
        kind=cast("views.Kind", choice("kind", get_args(views.Kind), "market")),
        side=Side(choice("side", list(Side), Side.BUY)),
        source=cast("views.Source", choice("source", get_args(views.Source), "quantity")),
        risk_unit="money" if text("risk_unit") == "money" else "equity",
        has_limit=text("has_limit") == "on",
        time_in_force=choice("time_in_force", times, "gtc"),
        post_only=text("post_only") == "on",
        targets=_targets(form),
        **{name: text(name) for name in _TEXTS},
    )


def _targets(form: Mapping[str, Any]) -> tuple[TargetField, ...]:
    if not isinstance(form, ImmutableMultiDict):
        return padded(())
    prices, percents = ([str(value).strip()[:_LONGEST] for value in form.getlist(name)] for name in ("target_price", "target_percent"))
    rows = [TargetField(price=price, percent=percent) for price, percent in zip(prices, percents, strict=False) if price or percent]
    return padded(tuple(rows[:MOST_TARGETS]))


def padded(targets: tuple[TargetField, ...]) -> tuple[TargetField, ...]:
    """Return the rows with at least two, of which one is empty where there is room."""
    rows = min(max(FEWEST_TARGETS, len(targets) + 1), MOST_TARGETS)
    return targets + (TargetField(),) * (rows - len(targets))


class Reading:
    """A form's fields on their way to a wish; `errors` maps what cannot be read to its sentence."""

    def __init__(self, fields: views.TicketFields) -> None:
        self.fields = fields
        self.errors: dict[str, str] = {}

    def wish(self, symbol: str, key: str) -> Wish:
        """Return what the form asks for. Where `errors` says something it means nothing."""
        fields = self.fields
        kind = views.TYPES[fields.kind][1 if fields.has_limit else 0]
        has_limit = kind.has_limit
        price = self._number("price", fields.price) if has_limit else None
        trigger = self._number("trigger_price", fields.trigger_price) if kind.waits or fields.kind == "oco" else None
        trail = self._number("trailing_percent", fields.trailing_percent) if kind is OrderType.TRAILING_STOP else None
        intent = OrderIntent(
            symbol=symbol,
            side=fields.side,
            source=Source.MANUAL,
            key=key,
            type=kind,
            price=price,
            trigger_price=trigger if kind.waits else None,
            trailing_delta=None if trail is None else trail / 100,
            protection=self._plan(),
            time_in_force=TimeInForce(fields.time_in_force) if kind is OrderType.LIMIT and fields.kind != "oco" else TimeInForce.GTC,
            post_only=fields.post_only and kind is OrderType.LIMIT and fields.kind != "oco",
        )
        return Wish(intent=intent, size=self._size(), oco=self._pair(price, trigger))

    def missing(self) -> dict[str, str]:
        """Return the fields without which there is no order, and what to ask for each."""
        fields, kind = self.fields, views.TYPES[self.fields.kind][1 if self.fields.has_limit else 0]
        found: dict[str, str] = {}
        if not getattr(fields, fields.source) or (fields.source == "percent" and self._size() is None):
            found[fields.source] = gettext("How much?")
        if kind.has_limit and not fields.price:
            found["price"] = gettext("At what price?")
        if ((kind.waits and kind is not OrderType.TRAILING_STOP) or fields.kind == "oco") and not fields.trigger_price:
            found["trigger_price"] = gettext("At what price?")
        if fields.kind == "trailing" and not fields.trailing_percent:
            found["trailing_percent"] = gettext("At what distance?")
        if fields.kind == "oco" and fields.has_limit and not fields.stop_limit_price:
            found["stop_limit_price"] = gettext("At what price?")
        return found

    def _pair(self, price: Decimal | None, trigger: Decimal | None) -> OcoPrices | None:
        if self.fields.kind != "oco":
            return None
        limit = self._number("stop_limit_price", self.fields.stop_limit_price) if self.fields.has_limit else None
        return OcoPrices(price=price or Decimal(0), trigger_price=trigger or Decimal(0), stop_limit_price=limit)

    def _size(self) -> Size | None:
        fields = self.fields
        value = self._number(fields.source, getattr(fields, fields.source))
        if value is None:
            return None
        match fields.source:
            case "quantity":
                return Size(by=SizeBy.QUANTITY, value=value)
            case "amount":
                return Size(by=SizeBy.AMOUNT, value=value)
            case "percent":
                return Size(by=SizeBy.PERCENT, value=value / 100)
            case "risk":
                by_equity = fields.risk_unit == "equity"
                return Size(by=SizeBy.RISK_PERCENT, value=value / 100) if by_equity else Size(by=SizeBy.RISK, value=value)

    def _plan(self) -> ProtectionPlan | None:
        """How the position is to be guarded; of what sells, and of a pair, nothing is read."""
        fields = self.fields
        if fields.side is Side.SELL or fields.kind == "oco" or not fields.has_bracket:
            return None
        trail = self._number("bracket_trailing", fields.bracket_trailing)
        return ProtectionPlan(
            stop_price=self._number("stop_loss", fields.stop_loss),
            stop_limit_price=self._number("bracket_limit", fields.bracket_limit),
            trailing_delta=None if trail is None else trail / 100,
            targets=tuple(self._read_targets()),
            break_even_after=self._count("break_even_after", fields.break_even_after),
        )

    def _read_targets(self) -> list[Target]:
        rows = [(place, row) for place, row in enumerate(self.fields.targets) if row.price or row.percent]
        found = []
        for place, row in rows:
            price = self._number(f"target_price-{place}", row.price)
            # Of a single target without a part, all is meant.
            percent = self._number(f"target_percent-{place}", row.percent or ("100" if len(rows) == 1 else ""))
            if price is None and not row.price:
                self.errors[f"target_price-{place}"] = gettext("At what price?")
            if percent is None and not row.percent and len(rows) > 1:
                self.errors[f"target_percent-{place}"] = gettext("How much?")
            if price is not None and percent is not None:
                found.append(Target(price=price, fraction=percent / 100))
        return found

    def _number(self, name: str, text: str) -> Decimal | None:
        """What was typed; None where nothing was, and where it is no number above 0, which is then among the errors."""
        if not text:
            return None
        try:
            number = parse_decimal(text) if _NUMBER.fullmatch(text) else Decimal(0)
        except ValueError:
            number = Decimal(0)
        if number > 0:
            return number
        if name == "percent" and _NUMBER.fullmatch(text):
            return None  # a slider at its left end says nothing
        self.errors[name] = gettext("This must be a number above 0, such as 0.01, without spaces.")
        return None

    def _count(self, name: str, text: str) -> int | None:
        if not text:
            return None
        if text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_TARGETS:
            return int(text)
        self.errors[name] = gettext("This must be the number of a target: 1 for the first.")
        return None


def shown_field(name: str | None, fields: views.TicketFields) -> str:
    """Return where the form shows a denial about `name`; empty where it has no such field."""
    if name in ("quantity", "percent"):
        return fields.source
    if name == "trailing_percent":
        return "trailing_percent" if fields.kind == "trailing" else "bracket_trailing"
    if name == "stop_limit_price":
        return "stop_limit_price" if fields.kind == "oco" else "bracket_limit"
    if name == "price" and fields.kind in ("market", "trailing"):
        return ""
    return _SHOWN.get(name or "", "")
