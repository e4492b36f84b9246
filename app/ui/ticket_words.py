"""What the order ticket says in the reader's words: what a bracket places, what an order is, and what became of it."""

from decimal import Decimal
from typing import Any, Final

from app.core import formatters
from app.core.i18n import current_language, gettext
from app.core.sentences import said
from app.domain.enums import OrderState, OrderType, Side
from app.domain.instruments import Instrument, plain
from app.domain.sizing import SizedOrder
from app.errors import AppError
from app.exchanges.catalogue import venue_of
from app.trading.bracket import Bracket, Step
from app.trading.preview import Preview
from app.ui.labels import label
from app.ui.views.ticket import ReviewFact, TicketResult, Tone

_OVER: Final = (OrderState.CANCELED, OrderState.EXPIRED)


def typed(number: Decimal) -> str:
    """Return a number as the reader types it: no grouping, and their own mark."""
    text = plain(number)
    return text.replace(".", ",") if current_language() == "fr" else text


def venue_name(exchange: str) -> str:
    """Return what people call an exchange."""
    venue = venue_of(exchange)
    return exchange if venue is None else venue.name


def bracket_words(bracket: Bracket, rules: Instrument, exchange: str) -> tuple[str, ...]:
    """Return what is placed after the fill, a sentence for each order, and why not all of it is at the exchange."""
    told = [_step_words(step, bracket, rules, venue_name(exchange)) for step in bracket.steps]
    if not told:
        told = [gettext("The position would be too small to be guarded by an order.")]
    if bracket.plan.break_even_after is not None:
        number = bracket.plan.break_even_after
        told.append(gettext("Once target %(number)s is reached, the stop moves to the entry.") % {"number": number})
    if bracket.reason is not None:
        told.append(gettext("This server watches, and must be running, because %(reason)s.") % {"reason": said(bracket.reason)})
    return tuple(told)


def _step_words(step: Step, bracket: Bracket, rules: Instrument, exchange: str) -> str:
    values = {
        "quantity": _quantity(step.quantity, rules),
        "stop": _stop_text(bracket, rules),
        "target": _price(step.target, rules),
        "exchange": exchange,
    }
    if step.kind == "pair":
        return (
            gettext("After the fill a stop at %(stop)s and a target at %(target)s for %(quantity)s are placed at %(exchange)s as OCO.")
            % values
        )
    if step.kind == "stop" and step.is_here:
        return gettext("After the fill this server watches a stop at %(stop)s for %(quantity)s.") % values
    if step.kind == "stop":
        return gettext("After the fill a stop at %(stop)s for %(quantity)s is placed at %(exchange)s.") % values
    if step.is_here:
        return gettext("After the fill this server watches a target at %(target)s for %(quantity)s.") % values
    return gettext("After the fill a target at %(target)s for %(quantity)s is placed at %(exchange)s.") % values


def _stop_text(bracket: Bracket, rules: Instrument) -> str:
    plan = bracket.plan
    if plan.trailing_delta is not None:
        share = formatters.share(plan.trailing_delta, decimals=4, language=current_language())
        return gettext("%(share)s below the best price") % {"share": share}
    if plan.stop_limit_price is not None:
        prices = {"stop": _price(plan.stop_price, rules), "limit": _price(plan.stop_limit_price, rules)}
        return gettext("%(stop)s (limit %(limit)s)") % prices
    return _price(plan.stop_price, rules)


def _price(price: Decimal | None, rules: Instrument) -> str:
    return formatters.price(price, rules.tick_size, language=current_language())


def _quantity(quantity: Decimal | None, rules: Instrument) -> str:
    return f"{formatters.quantity(quantity, rules.step_size, language=current_language())}{formatters.NO_BREAK_SPACE}{rules.base}"


def order_facts(found: Preview) -> tuple[ReviewFact, ...]:
    """Return the exact order, line by line."""
    rules, order = found.instrument, found.order
    if order is None:
        return ()
    facts = [_size_fact(order, rules)]
    if order.price is not None:
        facts.append(ReviewFact(name=gettext("Limit price"), value=_price(order.price, rules)))
    if found.stop is not None:
        facts.append(ReviewFact(name=gettext("Stop price"), value=_price(found.stop.trigger_price, rules)))
        if found.stop.price is not None:
            facts.append(ReviewFact(name=gettext("Limit of the stop"), value=_price(found.stop.price, rules)))
    elif order.trigger_price is not None:
        facts.append(ReviewFact(name=gettext("Trigger price"), value=_price(order.trigger_price, rules)))
    if order.trailing_delta is not None:
        share = formatters.share(order.trailing_delta, decimals=4, language=current_language())
        facts.append(ReviewFact(name=gettext("Trailing distance"), value=share))
    if order.type is OrderType.LIMIT and found.stop is None:
        how = order.time_in_force.value.upper()
        facts.append(ReviewFact(name=gettext("Lasts"), value=f"{how} · {gettext('post-only')}" if order.post_only else how))
    return tuple(facts)


def _size_fact(order: SizedOrder, rules: Instrument) -> ReviewFact:
    quantity = _quantity(order.quantity, rules)
    if order.notional is None:
        return ReviewFact(name=gettext("Quantity"), value=quantity)
    spent = f"{formatters.price(order.notional, language=current_language())}{formatters.NO_BREAK_SPACE}{rules.quote}"
    return ReviewFact(name=gettext("Amount"), value=gettext("%(amount)s, about %(quantity)s") % {"amount": spent, "quantity": quantity})


def result_of(row: Any, *, account: str, exchange: str, rules: Instrument | None) -> TicketResult:
    """Return what became of an order (a row of `orders`), in the words of the state it is in."""
    state = OrderState(row["state"])
    tone, words = _outcome(row, state, venue_name(exchange), rules)
    is_held = state is OrderState.INTENT and row["execution"] == "supervised" and row["triggered_at"] is None
    is_open = state in (OrderState.SUBMITTING, OrderState.UNKNOWN) or (state is OrderState.INTENT and not is_held)
    return TicketResult(
        account=account,
        tone=tone,
        text=words,
        order_id=str(row["id"]),
        is_open_question=is_open,
        since=row["sent_at"] if state is OrderState.UNKNOWN else None,
        code=row["code"] or "",
    )


def _outcome(row: Any, state: OrderState, exchange: str, rules: Instrument | None) -> tuple[Tone, str]:
    if state is OrderState.UNKNOWN:
        told = gettext("%(exchange)s did not answer. The order may or may not exist. We are checking; nothing will be sent twice.")
        return "warn", told % {"exchange": exchange}
    if state is OrderState.LOST:
        at = f"{row['updated_at']:%H:%M:%S} UTC"
        return "err", gettext("Checked until %(time)s: the order never reached %(exchange)s. No money moved.") % {
            "time": at,
            "exchange": exchange,
        }
    if state in (OrderState.REJECTED, OrderState.DENIED):
        return "err", said(row["detail"] or "") or gettext("The order was refused.")
    if state is OrderState.FILLED:
        return "ok", _filled(row, rules)
    if state in _OVER:
        return _ended(row, rules)
    if state is OrderState.INTENT and row["execution"] == "supervised":
        return "info", gettext("This server watches the market and sends the order when its price is reached; it must be running.")
    if state in (OrderState.INTENT, OrderState.SUBMITTING):
        return "info", gettext("The order is on its way.")
    if row["filled_quantity"]:
        return "info", gettext("Partly filled; the rest stands at %(exchange)s.") % {"exchange": exchange}
    return "ok", gettext("The order stands at %(exchange)s.") % {"exchange": exchange}


def _filled(row: Any, rules: Instrument | None) -> str:
    base, _, quote = row["symbol"].partition("/")
    language = current_language()
    values = {
        "quantity": formatters.quantity(row["filled_quantity"], rules.step_size if rules else None, language=language),
        "price": formatters.price(row["average_price"], rules.tick_size if rules else None, language=language),
        "base": base,
        "quote": quote,
    }
    if Side(row["side"]) is Side.BUY:
        return gettext("Bought %(quantity)s %(base)s at %(price)s %(quote)s on average.") % values
    return gettext("Sold %(quantity)s %(base)s at %(price)s %(quote)s on average.") % values


def _ended(row: Any, rules: Instrument | None) -> tuple[Tone, str]:
    if not row["filled_quantity"]:
        return "warn", gettext("The market did not take the order: nothing was filled, and nothing stands.")
    return "warn", gettext("%(filled)s What was left of it is %(state)s.") % {
        "filled": _filled(row, rules),
        "state": label(row["state"]).lower(),
    }


def problem_of(error: AppError, *, account: str) -> TicketResult:
    """Return why nothing was sent for an account."""
    return TicketResult(account=account, tone="err", text=said(error.message), code=error.code)
