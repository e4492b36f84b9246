"""Stops, targets and limit prices: a price as such, or a percentage off the entry. What cannot be read exactly is refused.

An entry must never be traded without the stop it came with, so a member that would protect and cannot be understood refuses the alert.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from app.errors import BadPayload
from app.webhooks.alert import Level, TargetLevel
from app.webhooks.reading.members import Members, plain_name
from app.webhooks.reading.numbers import Amount, is_nothing, read_amount, read_number, read_whole

_STOPS: Final = ("stoploss", "sl", "stoplossprice", "slprice", "stopprice", "prixsl", "stop")
_STOP_PERCENTS: Final = ("stoplosspercent", "stoppercent", "slpercent", "stoplosspct", "slpct")
_STOP_LIMITS: Final = ("stoplimit", "stoplimitprice", "stoplosslimit", "stoplosslimitprice")
_TARGETS: Final = ("takeprofit", "tp", "takeprofitprice", "tpprice", "prixtp")
_TARGET_PERCENTS: Final = ("takeprofitpercent", "tppercent", "takeprofitpct", "tppct")
_TARGET_LISTS: Final = ("targets", "takeprofits")
_TRAILING: Final = ("trailingpercent", "trailingstoppercent", "trailpercent")
_STEMS: Final = ("takeprofit", "tp", "takeprofitprice", "target", "prixtp")
_MOST_TARGETS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """What is to protect a position; nothing where everything is empty."""

    stop: Level | None = None
    stop_limit: Level | None = None
    trailing_delta: Decimal | None = None
    targets: tuple[TargetLevel, ...] = ()
    break_even_after: int | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be protected or changed."""
        return self.stop is None and self.trailing_delta is None and not self.targets and self.break_even_after is None


def guard_of(members: Members) -> Guard:
    """Return the protection that the members ask for.

    Raises:
        BadPayload: it is said twice, cannot be read, or is a kind of protection that does not exist here.
    """
    stop, stop_limit, trailing = _stop(members)
    trailing = _trailing(members) if trailing is None else trailing
    targets = _targets(members)
    name, value = members.take_named("breakevenafter")
    after = None if is_nothing(value) else read_whole(value, name, least=1, most=_MOST_TARGETS)
    if after is not None and after > len(targets):
        raise _invalid(f"{name} counts targets, and there are {len(targets)}", name)
    if stop_limit is not None and stop is None:
        raise _invalid("a stop's limit needs the stop itself", "stop_loss")
    return Guard(stop=stop, stop_limit=stop_limit, trailing_delta=trailing, targets=targets, break_even_after=after)


def price_level(value: Any, field: str) -> Level:
    """Return a limit price: a number, or a percentage off the market such as −3%.

    Raises:
        BadPayload: PRICE_INVALID or a number's code.
    """
    amount = read_amount(value, field)
    if amount.unit == "%" and not amount.prefix:
        return Level(offset=_bounded(amount.value / 100, field))
    if amount.unit or amount.prefix not in ("", "@"):
        raise BadPayload(f"{field} must be a price or a percentage, was {str(value)[:40]}", code="PRICE_INVALID", field=field)
    if amount.value <= 0:
        raise BadPayload(f"{field} must be above zero, was {str(value)[:40]}", code="PRICE_INVALID", field=field)
    return Level(price=amount.value)


def stop_level(value: Any, field: str) -> Level:
    """Return a stop below the entry: a price, `2%` or `-2%`.

    Raises:
        BadPayload: PROTECTION_INVALID, or a number's code.
    """
    amount = read_amount(value, field)
    if _is_percent(amount, value, field):
        if str(value).strip().startswith("+"):
            raise _invalid(f"{field} of a long position lies below the entry, was {str(value)[:40]}", field)
        return Level(offset=_below(amount.value, field))
    return _price(amount, value, field)


def target_level(value: Any, field: str) -> Level:
    """Return a target above the entry: a price or `4%`.

    Raises:
        BadPayload: PROTECTION_INVALID, or a number's code.
    """
    amount = read_amount(value, field)
    if _is_percent(amount, value, field):
        return Level(offset=_above(amount.value, field))
    return _price(amount, value, field)


def shared_out(levels: list[tuple[Level, Decimal | None]], field: str) -> tuple[TargetLevel, ...]:
    """Return targets with their fractions; where none is given, each has an equal part, and the last what is left.

    Raises:
        BadPayload: PROTECTION_INVALID: some have a fraction and some not, or they are more than the whole.
    """
    if len(levels) > _MOST_TARGETS:
        raise _invalid(f"at most {_MOST_TARGETS} targets, was {len(levels)}", field)
    given = [part for _, part in levels if part is not None]
    if given and len(given) < len(levels):
        raise _invalid("either every target has its fraction or none has", field)
    if not given:
        part = (1 / Decimal(len(levels) or 1)).quantize(Decimal("0.0001"))
        parts = [part] * (len(levels) - 1)
        given = [*parts, 1 - sum(parts, Decimal(0))] if levels else []
    if any(not 0 < part <= 1 for part in given) or sum(given, Decimal(0)) > 1:
        raise _invalid("the fractions of the targets must be above 0 and at most 1 together", field)
    return tuple(TargetLevel(level=level, fraction=part) for (level, _), part in zip(levels, given, strict=True))


def _stop(members: Members) -> tuple[Level | None, Level | None, Decimal | None]:
    """Stop, its limit, and a trailing distance where the stop's object says so."""
    found = [(name, value) for name, value in members.take_all(*_STOPS) if not is_nothing(value)]
    percents = [(name, value) for name, value in members.take_all(*_STOP_PERCENTS) if not is_nothing(value)]
    limits = [(name, value) for name, value in members.take_all(*_STOP_LIMITS) if not is_nothing(value)]
    if len(found) + len(percents) > 1 or len(limits) > 1:
        raise _invalid("the stop is said in two ways; give one of them", (found + percents + limits)[0][0])
    limit = stop_level(limits[0][1], limits[0][0]) if limits else None
    if percents:
        name, value = percents[0]
        return Level(offset=_below(read_percent(value, name), name)), limit, None
    if not found:
        return None, limit, None
    name, value = found[0]
    if isinstance(value, dict):
        stop, own_limit, trailing = _stop_object(Members(value), name)
        return stop, limit or own_limit, trailing
    return stop_level(value, name), limit, None


def _stop_object(inner: Members, field: str) -> tuple[Level | None, Level | None, Decimal | None]:
    """`{"percent": 2}`, `{"stopPrice": 59000, "limitPrice": 58900}`, `{"type": "trailing_stop", "trailPercent": 2}`."""
    kind = plain_name(inner.text("type"))
    if kind not in ("", "stop", "stopmarket", "stoplimit", "trailingstop"):
        raise _invalid(f"a stop of the type {kind[:40]} is not known here", field)
    percent, price = inner.take("percent"), inner.take("price", "stopprice")
    fraction = inner.take("pricedeviation")
    trail = inner.take("trailpercent", "trailingpercent")
    limit = inner.take("limitprice")
    _all_read(inner, field)
    given = [value for value in (percent, price, fraction, trail) if not is_nothing(value)]
    if len(given) != 1:
        raise _invalid(f"{field} must have one of price, percent and trailPercent", field)
    own_limit = None if is_nothing(limit) else stop_level(limit, f"{field}.limitprice")
    if not is_nothing(trail):
        return None, None, _distance(read_percent(trail, field), field)
    if not is_nothing(percent):
        return Level(offset=_below(read_percent(percent, field), field)), own_limit, None
    if not is_nothing(fraction):
        return Level(offset=_below(read_number(fraction, field) * 100, field)), own_limit, None
    return stop_level(price, field), own_limit, None


def _trailing(members: Members) -> Decimal | None:
    name, value = members.take_named(*_TRAILING)
    if not is_nothing(value):
        return _distance(read_percent(value, name), name)
    name, value = members.take_named("trailingstop")
    if is_nothing(value):
        return None
    if isinstance(value, dict):
        inner = Members(value)
        percent = inner.take("percent", "trailpercent")
        _all_read(inner, name)
        return _distance(read_percent(percent, name), name)
    if not str(value).strip().endswith("%"):
        raise _invalid(f"{name} may be a price or a percentage: write trailing_percent for a distance in percent", name)
    return _distance(read_percent(value, name), name)


def _targets(members: Members) -> tuple[TargetLevel, ...]:
    found: list[tuple[Level, Decimal | None]] = []
    ways: list[str] = []
    for name, value in members.take_all(*_TARGETS, *_TARGET_PERCENTS, *_TARGET_LISTS):
        if is_nothing(value):
            continue
        ways.append(name)
        if isinstance(value, list):
            found += [_listed(item, name) for item in value]
        elif isinstance(value, dict):
            found.append(_listed(value, name))
        elif plain_name(name) in _TARGET_PERCENTS:
            found.append((Level(offset=_above(read_percent(value, name), name)), None))
        else:
            found.append((target_level(value, name), None))
    for stem in _STEMS:
        numbered = [(name, value) for _, name, value in members.numbered(stem) if not is_nothing(value)]
        if numbered:
            ways.append(numbered[0][0])
            found += [(target_level(value, name), None) for name, value in numbered]
    if len(ways) > 1:
        raise _invalid(f"the targets are said in two ways, by {' and '.join(ways)}; give one of them", ways[0])
    return shared_out(found, ways[0] if ways else "targets")


def _listed(item: Any, field: str) -> tuple[Level, Decimal | None]:
    """`{"price": 66000, "fraction": 0.5}`; `portfolio` and `priceDeviation` are WunderTrading's, in fractions."""
    if not isinstance(item, dict):
        return target_level(item, field), None
    inner = Members(item)
    price, percent, part = inner.take("price", "limitprice"), inner.take("percent"), inner.take("fraction", "portfolio")
    deviation = inner.take("pricedeviation")
    _all_read(inner, field)
    if sum(not is_nothing(value) for value in (price, percent, deviation)) != 1:
        raise _invalid(f"a target of {field} must have a price or a percent", field)
    if not is_nothing(percent):
        level = Level(offset=_above(read_percent(percent, field), field))
    elif not is_nothing(deviation):
        level = Level(offset=_above(read_number(deviation, field) * 100, field))
    else:
        level = target_level(price, field)
    return level, None if part is None else _part(part, field)


def _part(value: Any, field: str) -> Decimal:
    amount = read_amount(value, f"{field}.fraction")
    return amount.value / 100 if amount.unit == "%" else read_number(value, f"{field}.fraction")


def read_percent(value: Any, field: str) -> Decimal:
    """Return a percentage, with or without its sign.

    Raises:
        BadPayload: a number's code.
    """
    amount = read_amount(value, field)
    if amount.prefix or amount.unit not in ("", "%"):
        raise _invalid(f"{field} must be a percentage like 2, was {str(value)[:40]}", field)
    return amount.value


def _all_read(inner: Members, field: str) -> None:
    left = [name for name in inner.unread() if not is_nothing(inner.peek(plain_name(name)))]
    if left:
        raise BadPayload(
            f"{field}.{left[0]} is not known here, so nothing was traded: an entry without it is not what the alert asks for",
            code="FIELD_UNSUPPORTED",
            field=field,
        )


def _is_percent(amount: Amount, value: Any, field: str) -> bool:
    if amount.unit == "%" and not amount.prefix:
        return True
    if amount.unit or amount.prefix not in ("", "@"):
        raise _invalid(f"{field} must be a price or a percentage, was {str(value)[:40]}", field)
    return False


def _price(amount: Amount, value: Any, field: str) -> Level:
    if amount.value <= 0:
        raise _invalid(f"{field} must be above zero, was {str(value)[:40]}", field)
    return Level(price=amount.value)


def _below(percent: Decimal, field: str) -> Decimal:
    if not 0 < abs(percent) < 100:
        raise _invalid(f"{field} must lie between 0 and 100 percent below the entry, was {percent}", field)
    return -abs(percent) / 100


def _above(percent: Decimal, field: str) -> Decimal:
    if percent <= 0:
        raise _invalid(f"{field} of a long position lies above the entry, was {percent} percent", field)
    return _bounded(percent / 100, field)


def _distance(percent: Decimal, field: str) -> Decimal:
    if not 0 < percent < 100:
        raise _invalid(f"{field} must be a distance between 0 and 100 percent, was {percent}", field)
    return percent / 100


def _bounded(offset: Decimal, field: str) -> Decimal:
    if not -1 < offset <= 100:
        raise _invalid(f"{field} is too far from the entry, was {offset * 100} percent", field)
    return offset


def _invalid(what: str, field: str) -> BadPayload:
    return BadPayload(what, code="PROTECTION_INVALID", field=field)
