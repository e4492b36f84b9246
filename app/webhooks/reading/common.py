"""From members to one Alert: the rules that all ways of writing share. Adapters say the rest in these members' names."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from app.domain.enums import OrderType, TimeInForce
from app.errors import BadPayload
from app.webhooks.alert import Action, Alert, Level, Size
from app.webhooks.reading.levels import Guard, guard_of, price_level
from app.webhooks.reading.members import Members, plain_name
from app.webhooks.reading.moments import alert_moment, bar_moment, interval_of, patience_of, unread_moment
from app.webhooks.reading.numbers import is_nothing, read_number
from app.webhooks.reading.sizes import size_of
from app.webhooks.reading.strategy import Place, Turn, places_of, turn_of
from app.webhooks.reading.symbols import read_symbol
from app.webhooks.reading.words import NOTHING_SHORT, Wanted, Word, wanted_of, word_of

_ACTIONS: Final = ("action", "orderaction", "strategyorderaction", "side", "orderside")
#: Names under which some send the action and others a remark.
_PERHAPS_ACTIONS: Final = ("signal", "direction", "command")
_SYMBOLS: Final = ("symbol", "ticker", "pair", "instrument", "tvinstrument", "market")
_EXCHANGES: Final = ("exchange", "tvexchange", "venue")
_ACCOUNTS: Final = ("broker", "brokerid", "account", "accountid", "userexchangeid")
_INDICATORS: Final = ("indicator", "indicatorname", "indicateurname", "strategyname")
_TYPES: Final = {
    **dict.fromkeys(("market", "mkt", "marketorder"), OrderType.MARKET),
    **dict.fromkeys(("limit", "lmt", "limitorder"), OrderType.LIMIT),
}
_PRICES: Final = ("price", "prix", "orderprice", "strategyorderprice")
_LIMITS: Final = ("limitprice", "limit")
_LONGEST_TEXT: Final = 200
_NO: Final = frozenset({"false", "no", "off", "n", "f", "0.0"})
#: An alert that is to wait longer than this means another moment than the one it arrives at.
_LONGEST_DELAY_S: Final = 60
_OPENING: Final = frozenset({Action.BUY, Action.TARGET, Action.REVERSE})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Meaning:
    """What is to be done and how much, before price and protection."""

    action: Action
    type: OrderType | None = None
    size: Size | None = None
    position: Decimal | None = None
    note: str | None = None
    to_break_even: bool = False


def alert_of(members: Members, dialect: str) -> Alert:
    """Return what the members ask for.

    Raises:
        BadPayload: it cannot be read, contradicts itself, or asks for something that cannot be had.
    """
    for name in ("strategy", "strategyinfo", "order"):
        members.merge(name)
    symbol, exchange = _symbol(members)
    meaning = _meaning(members)
    is_order = meaning.action in (Action.BUY, Action.SELL, Action.CLOSE)
    kind, price = _type_and_price(members, meaning) if is_order else (OrderType.MARKET, None)
    guard = _guard(members, meaning)
    _check_delay(members)
    _check_moment(members, meaning.action)
    moment, bar = alert_moment(members), bar_moment(members)
    alert = Alert(
        action=meaning.action,
        dialect=dialect,
        symbol=symbol,
        exchange=exchange,
        type=kind,
        price=price,
        size=meaning.size,
        position=meaning.position,
        stop=guard.stop,
        stop_limit=guard.stop_limit,
        trailing_delta=guard.trailing_delta,
        targets=guard.targets,
        break_even_after=guard.break_even_after,
        time_in_force=_time_in_force(members) if is_order else TimeInForce.GTC,
        post_only=_flag(members, "postonly"),
        account=_named(members, _ACCOUNTS),
        key=_key(members),
        at=moment,
        bar_time=bar,
        interval=interval_of(members),
        max_age_s=patience_of(members),
        indicator=_named(members, _INDICATORS) or _named(members, ("strategy",)),
        note=meaning.note,
        ignored=members.unread(),
    )
    check_protection(meaning.action, members.unread_protection())
    return alert


def check_protection(action: Action, name: str | None) -> None:
    """Refuse an entry, or a change of a stop, of which something that protects could not be read.

    Args:
        action: What is wanted; a sell is never held back.
        name: The name of what could not be read; None for nothing.

    Raises:
        BadPayload: FIELD_UNSUPPORTED.
    """
    if name is None or (action not in _OPENING and action is not Action.PROTECT):
        return
    raise BadPayload(
        f"{name[:40]} is not known here, so nothing was traded: an entry without it is not what the alert asks for",
        code="FIELD_UNSUPPORTED",
        field=name.lower()[:40],
    )


def _words(members: Members) -> list[Word]:
    """The meanings of the words for an action, in all members that may hold one."""
    found = [_word(name, value) for name, value in members.take_all(*_ACTIONS)]
    for name in _PERHAPS_ACTIONS:
        value = members.peek(name)
        if found and (not isinstance(value, str) or word_of(value.strip()) is None):
            continue
        found += [_word(spelling, given) for spelling, given in members.take_all(name)]
    return found


def _word(name: str, value: Any) -> Word:
    if not isinstance(value, str):
        raise _unknown(str(value)[:40] if isinstance(value, Decimal) else type(value).__name__, name)
    word = word_of(value.strip())
    if word is None:
        raise _unknown(value.strip()[:40], name)
    return word


def _meaning(members: Members) -> _Meaning:
    wanted = wanted_of(_words(members))
    if _flag(members, "dryrun", "test", "istest", "disabled") and (wanted is None or wanted.action is not Action.PING):
        return _Meaning(action=Action.NONE, note="the message says that it is only a test")
    if wanted is not None and wanted.action in (Action.PING, Action.CANCEL, Action.PROTECT, Action.REVERSE):
        size = size_of(members, wanted.action) if wanted.action is Action.REVERSE else None
        return _Meaning(action=wanted.action, size=size, note=wanted.note, to_break_even=wanted.to_break_even)
    after, before = places_of(members)
    size = size_of(members, Action.NONE if wanted is None else wanted.action)
    if _flag(members, "reduceonly") and wanted is not None and wanted.action is Action.BUY:
        return _Meaning(action=Action.NONE, note=NOTHING_SHORT)
    turn = turn_of(wanted, size, after, before)
    if turn is not None:
        return _from_turn(turn, wanted, size)
    return _from_words(wanted, size, after)


def _from_turn(turn: Turn, wanted: Wanted | None, size: Size | None) -> _Meaning:
    kind = None if wanted is None else wanted.type
    keeps_size = turn.action in (Action.BUY, Action.SELL) or (turn.action is Action.CLOSE and turn.size is not None)
    told = turn.size if turn.size is not None else size
    return _part_of_close(
        _Meaning(action=turn.action, type=kind, size=told if keeps_size else None, position=turn.position, note=turn.note)
    )


def _from_words(wanted: Wanted | None, size: Size | None, after: Place | None) -> _Meaning:
    if wanted is None:
        raise BadPayload(
            'no action: add "action": "{{strategy.order.action}}" or "buy" to the alert\'s message', code="SIDE_MISSING", field="action"
        )
    if wanted.is_reduction and size is None:
        raise BadPayload(
            "the position is to be reduced, but by how much? add a quantity such as 50%", code="QUANTITY_MISSING", field="size"
        )
    if wanted.action is Action.TARGET:
        return _Meaning(action=Action.TARGET, position=Decimal(0), note=wanted.note)
    keeps_size = wanted.action in (Action.BUY, Action.SELL, Action.CLOSE)
    return _part_of_close(_Meaning(action=wanted.action, type=wanted.type, size=size if keeps_size else None, note=wanted.note))


def _part_of_close(meaning: _Meaning) -> _Meaning:
    """A close of so many units sells so many; only a fraction of the position is a close."""
    if meaning.action is not Action.CLOSE or meaning.size is None or meaning.size.kind.value == "position":
        return meaning
    return _Meaning(action=Action.SELL, type=meaning.type, size=meaning.size, note=meaning.note)


def _symbol(members: Members) -> tuple[str | None, str | None]:
    name, value = members.take_named(*_SYMBOLS)
    exchange = _named(members, _EXCHANGES)
    if value is None:
        return None, exchange
    symbol, prefix = read_symbol(value, name)
    return symbol, prefix or (None if exchange is None else exchange.upper())


def _type_and_price(members: Members, meaning: _Meaning) -> tuple[OrderType, Level | None]:
    name, value = members.take_named("type", "ordertype")
    limit_name, limit = members.take_named(*_LIMITS)
    kind = _order_type(name, value)
    if kind is not None and meaning.type is not None and kind is not meaning.type:
        raise BadPayload(f"the action says {meaning.type.value} and {name} says {kind.value}", code="TYPE_UNKNOWN", field=name)
    kind = kind or meaning.type or (OrderType.MARKET if is_nothing(limit) else OrderType.LIMIT)
    if kind is OrderType.MARKET:
        # In a market alert the price is only what the chart showed.
        return kind, None
    price_name, price = (limit_name, limit) if not is_nothing(limit) else members.take_named(*_PRICES)
    if is_nothing(price) and not str(price).strip().endswith("%"):
        raise BadPayload("a limit order needs a price", code="PRICE_MISSING", field="price")
    return kind, price_level(price, price_name)


def _order_type(name: str, value: Any) -> OrderType | None:
    if is_nothing(value):
        return None
    text = "".join(sign for sign in str(value).lower() if sign.isalnum())
    if not isinstance(value, str) or text not in _TYPES:
        raise BadPayload(f"the type must be market or limit, was {str(value)[:40]}", code="TYPE_UNKNOWN", field=name)
    return _TYPES[text]


def _time_in_force(members: Members) -> TimeInForce:
    name = members.text("timeinforce", "tif").lower() or TimeInForce.GTC.value
    if name not in set(TimeInForce):
        raise BadPayload(f"the time in force must be GTC, IOC or FOK, was {name[:40]}", code="TIME_IN_FORCE_UNKNOWN", field="time_in_force")
    return TimeInForce(name)


def _guard(members: Members, meaning: _Meaning) -> Guard:
    """The protection, where there can be one. A sell is never held back by a stop that cannot be read: there is nothing to protect."""
    if meaning.action is Action.PROTECT:
        guard = guard_of(members)
        if meaning.to_break_even:
            if guard.stop is not None:
                raise BadPayload("a stop at the entry and another one: give one of them", code="PROTECTION_INVALID", field="stop_loss")
            guard = Guard(stop=Level(offset=Decimal(0)), targets=guard.targets)
        if guard.is_empty:
            raise BadPayload(
                "the stop and the targets are to be changed, but the message has neither; add a stop or a target",
                code="PROTECTION_MISSING",
                field="stop_loss",
            )
        return guard
    return guard_of(members) if meaning.action in _OPENING else Guard()


def _check_moment(members: Members, action: Action) -> None:
    """Refuse an entry whose moment nobody can read: it may be yesterday's. A sell is not held back by it."""
    name = unread_moment(members) if action in _OPENING else None
    if name is not None:
        was = members.text(plain_name(name))[:40]
        raise BadPayload(
            f"{name} must be the moment of the alert, such as {{{{timenow}}}} gives it, was {was}",
            code="TIME_INVALID",
            field=name,
        )


def _check_delay(members: Members) -> None:
    name, value = members.take_named("delayseconds", "delay")
    if not is_nothing(value) and read_number(value, name) > _LONGEST_DELAY_S:
        raise BadPayload(
            f"{name} may be at most {_LONGEST_DELAY_S} seconds, was {str(value)[:40]}: alerts are acted on at once",
            code="DELAY_UNSUPPORTED",
            field=name,
        )


def _key(members: Members) -> str | None:
    given = members.text("clientintentid", "idempotencykey")
    if len(given) > _LONGEST_TEXT:
        raise BadPayload(
            f"client_intent_id may have at most {_LONGEST_TEXT} characters, was {len(given)}",
            code="NAME_TOO_LONG",
            field="client_intent_id",
        )
    return given or None


def _named(members: Members, names: tuple[str, ...]) -> str | None:
    """A short text; zero and `na` name nothing. What is no text is left for the list of what was ignored."""
    for name in names:
        value = members.peek(name)
        if isinstance(value, str | Decimal) and not is_nothing(value):
            return str(members.take(name)).strip()[:_LONGEST_TEXT]
        if is_nothing(value):
            members.take(name)
    return None


def _flag(members: Members, *names: str) -> bool:
    """Whether one of them is set. Whatever does not clearly say no says yes: each of them makes an alert do less."""
    return any(_is_set(value) for _, value in members.take_all(*names))


def _is_set(value: Any) -> bool:
    return not is_nothing(value) and str(value).strip().lower() not in _NO


def _unknown(was: str, field: str) -> BadPayload:
    return BadPayload(f"the action must be a word like buy, sell or close, was {was}", code="SIDE_UNKNOWN", field=field)
