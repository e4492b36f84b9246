"""Broker accounts in words: their cards, their tests, what their exchanges can do."""

from collections.abc import Iterable
from typing import Any, Final, Literal
from uuid import UUID

from app.brokers.models import Broker
from app.brokers.testing import ConnectionTest, Step, StepName, StepState
from app.core.i18n import N_, gettext
from app.domain.enums import OrderType, Source, TimeInForce, TradingState
from app.domain.instruments import plain
from app.domain.risk import MODES, ScopeKind
from app.exchanges.capabilities import capabilities_of
from app.exchanges.catalogue import Sandbox, Venue, venue_of
from app.exchanges.port import Balance
from app.trading.states import Restraint
from app.ui.labels import label
from app.ui.views import (
    BrokerCapabilities,
    BrokerRow,
    BrokerStatus,
    CapabilityRow,
    ExchangeFacts,
    KeyNotice,
    ModeChoice,
    TestResult,
    TestStep,
)

Status = Literal["ok", "paused", "off", "error", "untested"]

_SHOWN_BALANCES: Final = 6
_SANDBOXES: Final[dict[Sandbox, Literal["testnet", "demo"]]] = {Sandbox.TESTNET: "testnet", Sandbox.DEMO: "demo"}
_MODES: Final = {Source.MANUAL: N_("By hand"), Source.WEBHOOK: N_("Webhooks"), Source.BOT: N_("Bots")}
_STEPS: Final = {
    StepName.REACHABLE: N_("Exchange"),
    StepName.CLOCK: N_("Clock"),
    StepName.KEY: N_("Key"),
    StepName.RIGHTS: N_("Rights of the key"),
    StepName.BALANCE: N_("Balance"),
}
_STATUS_WORDS: Final[dict[Status, str]] = {
    "ok": N_("Ready"),
    "paused": N_("Paused"),
    "off": N_("Off"),
    "error": N_("Error"),
    "untested": N_("Not tested"),
}
#: Refusals of an exchange, in the reader's language; any other is told as it was written.
_REFUSALS: Final = {
    "BAD_CREDENTIALS": N_("The exchange refuses this key, or this server's address is not one of those that the key allows."),
    "EXCHANGE_UNAVAILABLE": N_("The exchange does not answer."),
    "EXCHANGE_RATE_LIMITED": N_("The exchange asks us to slow down. Try again in a minute."),
}


def exchange_name(account: Broker) -> str:
    """Return the name of an account's exchange."""
    if account.is_paper:
        return gettext("Paper trading")
    venue = venue_of(account.exchange)
    return venue.name if venue else account.exchange


def mode_choices(on: Iterable[str] | None = None) -> tuple[ModeChoice, ...]:
    """Return whose orders an account may take, with those that it takes; None is everybody's."""
    taken = {mode.value for mode in MODES} if on is None else set(on)
    return tuple(ModeChoice(value=mode.value, label=gettext(_MODES[mode]), is_on=mode.value in taken) for mode in MODES)


def mode_words(modes: Iterable[str]) -> str:
    """Return a trading mode in words."""
    return ", ".join(choice.label for choice in mode_choices(modes) if choice.is_on) or gettext("Off")


def facts_of(venue: Venue | None, *, is_testnet: bool = False, subaccount: str = "", errors: dict[str, str] | None = None) -> ExchangeFacts:
    """Return what a form says of an exchange; of one that does not exist, nothing."""
    if venue is None:
        return ExchangeFacts()
    reason = ""
    if venue.why_no_sandbox is not None and venue.is_tested:
        reason = gettext("%(name)s offers no test environment; use a paper account.") % {"name": venue.name}
    elif venue.why_no_sandbox is not None:
        reason = gettext("A test environment of %(name)s has not been tried here; use a paper account.") % {"name": venue.name}
    further: tuple[Literal["api_password", "api_uid"], ...] = ("api_password", "api_uid")
    return ExchangeFacts(
        sandbox="" if venue.sandbox is None else _SANDBOXES[venue.sandbox],
        why_no_sandbox=reason,
        is_tested=venue.is_tested,
        is_testnet=is_testnet,
        needs=tuple(field for field in further if field in venue.required_credentials),
        takes_subaccount=venue.subaccount_option is not None,
        subaccount=subaccount,
        errors=errors or {},
    )


def broker_row(account: Broker, restraints: list[Restraint], *, is_simulated: bool, found: ConnectionTest | None = None) -> BrokerRow:
    """Return an account as its card shows it, with the steps of a test that was `found` just now."""
    status, reason = _status_of(account, restraints)
    return BrokerRow(
        id=str(account.id),
        name=account.name,
        exchange=account.exchange,
        exchange_name=exchange_name(account),
        test=connection_result(account, found),
        status=status,
        status_word=gettext(_STATUS_WORDS[status]),
        status_reason=reason,
        is_key_refused=account.paused_reason is not None,
        mode=mode_words(account.trading_modes),
        description=account.description,
        key_hint=account.key_hint,
        subaccount=account.subaccount_name or "",
        is_default=account.is_default,
        is_testnet=account.is_testnet,
        is_simulated=is_simulated,
        is_paper=account.is_paper,
    )


def _status_of(account: Broker, restraints: list[Restraint]) -> tuple[Status, str]:
    """The worst that can be said of an account, and why: what is wrong, then what its owner switched off, then what waits."""
    if account.paused_reason is not None:
        return "error", account.paused_reason
    if not account.is_active:
        return "off", gettext("Switched off: no order is sent, no stop either.")
    if account.last_connection_success is False:
        return "error", ""  # the test's own words stand below
    if not account.trading_modes:
        return "off", gettext("Trading mode off: nothing is opened. Stops, cancels and closing by hand go on.")
    found = next((item for item in restraints if _concerns(item, account.id)), None)
    if found is not None:
        return "paused", found.reason
    if account.last_connection_success is None and not account.is_paper:
        return "untested", ""
    return "ok", ""


def _concerns(item: Restraint, broker_id: UUID) -> bool:
    if item.state is TradingState.ACTIVE:
        return False
    return item.scope.kind in (ScopeKind.PLATFORM, ScopeKind.USER) or (
        item.scope.kind is ScopeKind.BROKER and item.scope.key == str(broker_id)
    )


def bar_status(account: Broker) -> BrokerStatus:
    """Return an account as the status bar shows it."""
    return BrokerStatus(
        name=account.name,
        ok=account.is_active and account.paused_reason is None and account.last_connection_success is not False,
        latency_ms=account.last_latency_ms,
    )


def connection_result(account: Broker, found: ConnectionTest | None = None) -> TestResult:
    """Return the account's last connection test as its card shows it; of one that was made just now, with its steps."""
    notices = key_notices(account.key_rights)
    if account.last_connection_test is None:
        return TestResult(broker_id=str(account.id), is_needless=account.is_paper)
    if account.last_connection_success:
        detail = account.last_connection_message or gettext("The account is empty.")
    else:
        detail = _in_words(found.code, found.message) if found is not None else account.last_connection_message or ""
    return TestResult(
        broker_id=str(account.id),
        state="ok" if account.last_connection_success else "failed",
        detail=detail,
        latency_ms=account.last_latency_ms,
        at=account.last_connection_test,
        steps=() if found is None or account.is_paper else steps_of(found),
        notices=notices,
    )


def steps_of(found: ConnectionTest) -> tuple[TestStep, ...]:
    """Return the steps of a test in words."""
    return tuple(
        TestStep(name=step.name.value, label=gettext(_STEPS[step.name]), state=step.state.value, detail=_detail(step, found))
        for step in found.steps
    )


def _detail(step: Step, found: ConnectionTest) -> str:
    if step.state is StepState.FAILED:
        return _in_words(step.code, step.message)
    if step.name is StepName.REACHABLE and step.amount is not None:
        return gettext("reached, %(count)s symbols") % {"count": step.amount}
    if step.name is StepName.KEY and step.state is StepState.OK:
        return gettext("accepted")
    if step.name is StepName.CLOCK:
        return _clock(step)
    if step.name is StepName.RIGHTS and step.state is not StepState.SKIPPED:
        return _rights(found)
    if step.name is StepName.RIGHTS and found.success:
        return gettext("The exchange does not say.")
    if step.name is StepName.BALANCE and step.state is StepState.OK:
        return _balance(found.balances)
    return ""


def _clock(step: Step) -> str:
    if step.amount is None:
        return gettext("Not compared.")
    words = {"ms": f"{step.amount:+d}"}
    if step.state is StepState.WARNING:
        return gettext("%(ms)s ms apart. Orders are corrected for it; set this server's clock.") % words
    return gettext("%(ms)s ms apart") % words


def _rights(found: ConnectionTest) -> str:
    rights = found.rights
    notices = key_notices(None if rights is None else {"can_withdraw": rights.can_withdraw, "is_ip_bound": rights.is_ip_bound})
    if rights is not None and rights.can_trade is False:
        return gettext("The key may not trade.")
    return " ".join(notice.text for notice in notices) or gettext("Trading, no withdrawal.")


def _balance(balances: tuple[Balance, ...]) -> str:
    shown = " · ".join(f"{plain(balance.total)} {balance.asset}" for balance in balances[:_SHOWN_BALANCES])
    more = len(balances) - _SHOWN_BALANCES
    if more > 0:
        shown += " · " + gettext("%(count)s more") % {"count": more}
    return shown or gettext("The account is empty.")


def _in_words(code: str | None, message: str) -> str:
    words = _REFUSALS.get(code or "")
    return message if words is None else gettext(words)


def key_notices(rights: Any) -> tuple[KeyNotice, ...]:
    """Return what is to be said of a key: that it may withdraw is a warning, that it works from any address a notice."""
    if rights is None:
        return ()
    found = []
    if rights.get("can_withdraw"):
        words = gettext("This key may withdraw. Make one at the exchange that may not, and store that instead.")
        found.append(KeyNotice(tone="warn", text=words))
    if rights.get("can_trade") is False:
        found.append(KeyNotice(tone="warn", text=gettext("The key may not trade.")))
    if rights.get("is_ip_bound") is False:
        words = gettext("The key works from any address. Bind it to this server's at the exchange.")
        found.append(KeyNotice(tone="info", text=words))
    return tuple(found)


def capabilities_view(account: Broker) -> BrokerCapabilities:
    """Return what an account's exchange does itself, what this server does in its stead, and what nobody does."""
    can = capabilities_of(account.exchange)
    venue = venue_of(account.exchange)
    kinds = tuple(CapabilityRow(label=label(kind.value), state="exchange" if can.is_native(kind) else "here") for kind in OrderType)
    forces = ", ".join(force.value.upper() for force in TimeInForce if force in can.time_in_force)
    sizes = [(can.market_buy_by_base, gettext("by quantity")), (can.market_buy_by_quote, gettext("by amount"))]
    others = (
        CapabilityRow(label=gettext("Time in force"), state="exchange", detail=forces),
        CapabilityRow(label=gettext("Market buys"), state="exchange", detail=", ".join(words for is_so, words in sizes if is_so)),
        CapabilityRow(label=gettext("Post only"), state="exchange" if can.has_post_only else "none"),
        CapabilityRow(label=gettext("Pairs of which one cancels the other (OCO)"), state="exchange" if can.has_oco else "here"),
        CapabilityRow(label=gettext("Changing an order in one step"), state="exchange" if can.has_replace else "here"),
    )
    is_tested = venue is None or venue.is_tested
    return BrokerCapabilities(
        name=account.name, exchange_name=exchange_name(account), is_tested=is_tested, order_types=kinds, others=others
    )
