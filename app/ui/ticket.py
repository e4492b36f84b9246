"""The order ticket's view, built from the account's rules and what was typed. No exchange is asked to show the ticket; its figures are."""

from collections.abc import Iterable, Sequence
from decimal import ROUND_DOWN, Context, Decimal
from typing import Final
from uuid import UUID

from fastapi import FastAPI

from app.accounts.principal import Principal
from app.brokers.models import Broker
from app.brokers.service import list_brokers
from app.core.formatters import places
from app.core.i18n import gettext
from app.core.ids import new_id
from app.core.sentences import said
from app.domain.enums import Execution, OrderType, TimeInForce
from app.domain.instruments import Instrument
from app.domain.sizing import SizedOrder
from app.errors import AppError, DenialReason
from app.exchanges.capabilities import Capabilities, capabilities_of
from app.marketdata.lookout import lookout_of
from app.trading.batch import AccountResult, preview_on_each
from app.trading.desk import Desk
from app.trading.preview import Preview
from app.trading.submit import find_instrument
from app.trading.wish import Wish
from app.ui.regions import Regions
from app.ui.ticket_form import Reading, read_fields, shown_field
from app.ui.ticket_words import bracket_words, order_facts, typed, venue_name
from app.ui.views import ticket as views

#: What a denial says of input that is not there yet.
_MISSING: Final = frozenset({DenialReason.QUANTITY_MISSING.value, DenialReason.PRICE_MISSING.value, DenialReason.TRIGGER_MISSING.value})
_WIDE: Final = Context(prec=80)
_KEY_OF_PREVIEW: Final = "preview"
DEFAULT_SYMBOL: Final = "BTC/USDT"


class Ticket:
    """One person's ticket for one symbol, with what was typed. Build it with `open_ticket`."""

    def __init__(
        self,
        app: FastAPI,
        principal: Principal,
        *,
        accounts: Sequence[views.TicketAccount],
        symbol: str,
        rules: Instrument | None,
        fields: views.TicketFields,
        problem: str = "",
    ) -> None:
        self._app = app
        self._principal = principal
        self.accounts = tuple(accounts)
        self.symbol = symbol
        self.rules = rules
        self.fields = fields
        self.problem = problem

    @property
    def _desk(self) -> Desk:
        desk: Desk = self._app.state.desk
        return desk

    @property
    def chosen(self) -> tuple[views.TicketAccount, ...]:
        """The accounts the order goes to."""
        return tuple(account for account in self.accounts if account.is_chosen)

    @property
    def chosen_ids(self) -> list[UUID]:
        """Their ids."""
        return [UUID(account.id) for account in self.chosen]

    @property
    def exchange(self) -> str:
        """The exchange whose rules are shown: the first chosen account's."""
        return self.chosen[0].exchange if self.chosen else ""

    def view(self, *, errors: dict[str, str] | None = None, intent: str = "") -> views.TicketView:
        """Return the whole ticket, its figures empty: they are asked for once it stands."""
        base, _, quote = self.symbol.partition("/")
        capabilities = capabilities_of(self.exchange)
        return views.TicketView(
            symbol=self.symbol,
            base=base,
            quote=quote,
            intent=intent or str(new_id()),
            fields=self.fields,
            figures=self.figures(()),
            accounts=self.accounts,
            kinds=_kinds(capabilities, venue_name(self.exchange)),
            times=_times(capabilities, venue_name(self.exchange)),
            post_only_reason="" if capabilities.has_post_only else gettext("This exchange takes no post-only orders."),
            confirms=self._principal.confirm_orders,
            last=None if not self.exchange else self._desk.quotes.last_price(self.exchange, self.symbol),
            tick=None if self.rules is None else self.rules.tick_size,
            step=None if self.rules is None else self.rules.step_size,
            errors=errors or {},
            problem=self.problem,
        )

    def figures(self, lines: Iterable[views.TicketLine]) -> views.TicketFigures:
        """Return the region of the figures."""
        base, _, quote = self.symbol.partition("/")
        shown = tuple(lines)
        found = shown[0].figures if shown else None
        return views.TicketFigures(
            side=self.fields.side,
            base=base,
            quote=quote,
            env=self.chosen[0].env if self.chosen else "live",
            lines=shown,
            quantity_text="" if found is None else typed(found.quantity),
            amount_text="" if found is None or self.rules is None else typed(_cut(found.amount, self.rules)),
            percent_text="" if found is None or found.share is None else f"{int(found.share * 100)}",
            source=self.fields.source,
            confirms=self._principal.confirm_orders,
            tick=None if self.rules is None else self.rules.tick_size,
            step=None if self.rules is None else self.rules.step_size,
            min_notional=None if self.rules is None else self.rules.min_notional,
        )

    async def lines(self) -> tuple[views.TicketLine, ...]:
        """Return what the form comes to on each chosen account."""
        reading = Reading(self.fields)
        wish = reading.wish(self.symbol, _KEY_OF_PREVIEW)
        missing = reading.missing()
        if reading.errors or set(missing) - {self.fields.source}:
            field, sentence = next(iter(reading.errors.items()), ("", ""))
            return tuple(
                views.TicketLine(account=account, denial=sentence, field=field, is_missing=not reading.errors) for account in self.chosen
            )
        found = await self.previews(wish)
        return tuple(self._line(account, each) for account, each in zip(self.chosen, found, strict=True))

    async def previews(self, wish: Wish) -> list[AccountResult[Preview]]:
        """Return what a wish would be on each chosen account."""
        books = lookout_of(self._app).books
        return await preview_on_each(self._desk, self._principal.user_id, wish, self.chosen_ids, books=books)

    def _line(self, account: views.TicketAccount, result: AccountResult[Preview]) -> views.TicketLine:
        if result.value is None:
            return self.refused(account, result.problem)
        found = result.value
        is_missing = found.denial is not None and found.denial.code in _MISSING
        return views.TicketLine(
            account=account,
            figures=found.figures,
            free=found.setting.market.free,
            is_ready=found.denial is None,
            is_missing=is_missing,
            denial="" if found.denial is None or is_missing else said(found.denial.message),
            field="" if found.denial is None else shown_field(found.denial.field, self.fields),
            is_watched=found.execution is Execution.SUPERVISED,
            words=() if found.bracket is None else bracket_words(found.bracket, found.instrument, account.exchange),
        )

    def refused(self, account: views.TicketAccount, problem: AppError | None) -> views.TicketLine:
        """Return the line of an account that takes nothing."""
        assert problem is not None  # noqa: S101  # a result has one of the two
        return views.TicketLine(account=account, denial=said(problem.message), field=shown_field(problem.field, self.fields))

    def review(self, results: Sequence[AccountResult[Preview]], hidden: tuple[tuple[str, str], ...]) -> views.TicketReview:
        """Return the question whether the exact orders are to be sent."""
        base, _, quote = self.symbol.partition("/")
        asked = []
        for account, result in zip(self.chosen, results, strict=True):
            line = self._line(account, result)
            found = result.value
            facts = () if found is None or not line.is_ready else order_facts(found)
            sized = "" if found is None or found.order is None else _sized(found.order)
            asked.append(views.ReviewAccount(line=line, facts=facts, sized=sized))
        kind = next(each.label for each in _kinds(capabilities_of(self.exchange), "") if each.value == self.fields.kind)
        return views.TicketReview(
            symbol=self.symbol, side=self.fields.side, title=kind, accounts=tuple(asked), hidden=hidden, base=base, quote=quote
        )


def _cut(amount: Decimal, rules: Instrument) -> Decimal:
    """An amount as people type it: cut to cents, or to the tick where that is finer."""
    decimals = max(places(rules.tick_size), 2)
    return amount.quantize(Decimal(1).scaleb(-decimals), ROUND_DOWN, context=_WIDE)


def _sized(order: SizedOrder) -> str:
    """How much, so that exactly that is sent: a quantity, or what a market buy spends."""
    return f"quantity:{order.quantity:f}" if order.notional is None else f"amount:{order.notional:f}"


async def open_ticket(
    app: FastAPI, principal: Principal, *, broker_ids: Sequence[str] = (), symbol: str = "", fields: views.TicketFields | None = None
) -> Ticket:
    """Return the ticket of these accounts (none: the default one) for a symbol in any spelling."""
    async with app.state.database.transaction() as session:
        brokers = await list_brokers(session, principal.user_id)
    regions = Regions(app, principal.user_id, is_admin=principal.is_admin)
    chosen = {str(broker.id) for broker in brokers} & set(broker_ids)
    if not chosen:
        chosen = {str(broker.id) for broker in brokers if broker.is_default} or {str(broker.id) for broker in brokers[:1]}
    accounts = [_account(broker, regions, is_chosen=str(broker.id) in chosen) for broker in brokers]
    exchange = next((account.exchange for account in accounts if account.is_chosen), None)
    wanted, rules, problem = symbol or DEFAULT_SYMBOL, None, ""
    if exchange is not None:
        try:
            rules = await find_instrument(app.state.desk, exchange, wanted)
        except AppError as error:
            problem = said(error.message)
    return Ticket(
        app,
        principal,
        accounts=accounts,
        symbol=wanted if rules is None else rules.symbol,
        rules=rules,
        fields=fields or read_fields({}),
        problem=problem,
    )


async def ticket_view(
    app: FastAPI, principal: Principal, *, broker_id: UUID | str | None = None, symbol: str = "", **typed: str
) -> views.TicketView:
    """Return the whole ticket of one account (None: the default one), as the trading page includes it; `typed` are fields of its form.

    Call it with the reader's language in use: the words in it are theirs.
    """
    ids = (str(broker_id),) if broker_id else ()
    ticket = await open_ticket(app, principal, broker_ids=ids, symbol=symbol, fields=read_fields(typed))
    return ticket.view()


def _account(broker: Broker, regions: Regions, *, is_chosen: bool) -> views.TicketAccount:
    reason = ""
    if not broker.is_active:
        reason = gettext("switched off")
    elif broker.paused_reason is not None:
        reason = said(f"trading on this account is paused: {broker.paused_reason}")
    return views.TicketAccount(
        id=str(broker.id),
        name=broker.name,
        exchange=broker.exchange,
        venue=venue_name(broker.exchange),
        env=regions.environment(broker),
        is_chosen=is_chosen,
        reason=reason,
    )


def _kinds(capabilities: Capabilities, exchange: str) -> tuple[views.TicketKind, ...]:
    note = gettext("%(exchange)s takes no such order from here: this server watches the market and sends it when its price is reached.")
    has_pairs = capabilities.has_oco and capabilities.is_native(OrderType.STOP_MARKET)
    offered: tuple[tuple[views.Kind, str, bool], ...] = (
        ("market", gettext("Market"), True),
        ("limit", gettext("Limit"), True),
        ("stop", gettext("Stop"), _is_there(capabilities, OrderType.STOP_MARKET, OrderType.STOP_LIMIT)),
        ("take_profit", gettext("Take profit"), _is_there(capabilities, OrderType.TAKE_PROFIT, OrderType.TAKE_PROFIT_LIMIT)),
        ("trailing", gettext("Trailing"), capabilities.is_native(OrderType.TRAILING_STOP)),
        ("oco", "OCO", has_pairs),
    )
    return tuple(
        views.TicketKind(value=value, label=label, is_watched=not is_there, note="" if is_there else note % {"exchange": exchange})
        for value, label, is_there in offered
    )


def _is_there(capabilities: Capabilities, *kinds: OrderType) -> bool:
    return any(capabilities.is_native(kind) for kind in kinds)


def _times(capabilities: Capabilities, exchange: str) -> tuple[views.TicketOption, ...]:
    labels = {
        TimeInForce.GTC: gettext("Until canceled (GTC)"),
        TimeInForce.IOC: gettext("At once, the rest is canceled (IOC)"),
        TimeInForce.FOK: gettext("At once and all of it, or nothing (FOK)"),
    }
    reason = gettext("%(exchange)s takes no such orders.") % {"exchange": exchange}
    return tuple(
        views.TicketOption(value=time.value, label=words, reason="" if time in capabilities.time_in_force else reason)
        for time, words in labels.items()
    )
