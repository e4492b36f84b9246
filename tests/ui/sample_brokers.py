"""Broker accounts in every state that their cards and dialogs know."""

from dataclasses import replace
from datetime import UTC, datetime

from app.ui import views

NOW = datetime(2026, 11, 21, 15, 4, 58, tzinfo=UTC)
_LONG = "The exchange refuses this key, or this server's address is not one of those that the key allows."
MODES = (
    views.ModeChoice(value="manual", label="By hand"),
    views.ModeChoice(value="webhook", label="Webhooks", is_on=False),
    views.ModeChoice(value="bot", label="Bots"),
)
STEPS = (
    views.TestStep(name="reachable", label="Exchange reached", state="ok", detail="2148 symbols"),
    views.TestStep(name="clock", label="Clock", state="warning", detail="+1840 ms apart. Orders are corrected for it; set the clock."),
    views.TestStep(name="key", label="Key accepted", state="failed", detail=_LONG),
    views.TestStep(name="rights", label="Rights of the key", state="skipped"),
    views.TestStep(name="balance", label="Balance", state="skipped"),
)
_GOOD = (
    views.TestStep(name="key", label="Key accepted", state="ok"),
    views.TestStep(name="rights", label="Rights of the key", state="warning", detail="This key may withdraw."),
    views.TestStep(name="balance", label="Balance", state="ok", detail="1.25 BTC · 12045.11 ETH · 100000.12345678 USDT · 7 more"),
)
NOTICES = (
    views.KeyNotice(tone="warn", text="This key may withdraw. Make one at the exchange that may not, and store that instead."),
    views.KeyNotice(tone="info", text="The key works from any address. Bind it to this server's at the exchange."),
)


def broker_form(**changes: object) -> views.BrokerForm:
    """The add-broker form, for an exchange that wants a passphrase."""
    choices = tuple(views.Choice(value=name.lower(), label=name) for name in ("Binance", "Kraken", "OKX"))
    facts = views.ExchangeFacts(why_no_sandbox="Kraken offers no test environment; use a paper account.", needs=("api_password",))
    untested = (views.Choice(value="bitstamp", label="Bitstamp"),)
    form = views.BrokerForm(exchanges=choices, untested=untested, exchange="okx", facts=facts, modes=MODES)
    return replace(form, **changes)  # type: ignore[arg-type]  # a test's own field names


def edit_form() -> views.BrokerEdit:
    """The form for changes, with keys that did not work."""
    return views.BrokerEdit(
        id="b1",
        title="Binance <main>",
        name="Binance main",
        exchange_name="OKX",
        facts=views.ExchangeFacts(needs=("api_password", "api_uid"), subaccount="grid", errors={"api_password": "OKX needs this."}),
        description="Long-term account, no bots.",
        key_hint="9f3A",
        modes=MODES,
        attempt=views.KeyTry(place="edit", steps=STEPS, asks_anyway=True),
        errors={"name": "You already have an account of that name."},
    )


def capabilities() -> views.BrokerCapabilities:
    """An exchange that does some of it."""
    return views.BrokerCapabilities(
        name="Main",
        exchange_name="Coinbase Advanced",
        is_tested=False,
        order_types=(
            views.CapabilityRow(label="Market", state="exchange"),
            views.CapabilityRow(label="Stop", state="here"),
            views.CapabilityRow(label="Trailing stop", state="here"),
        ),
        others=(
            views.CapabilityRow(label="Time in force", state="exchange", detail="GTC, IOC, FOK"),
            views.CapabilityRow(label="Post only", state="none"),
            views.CapabilityRow(label="Pairs of which one cancels the other (OCO)", state="here"),
        ),
    )


def question() -> views.BrokerDelete:
    """An account with something of everything open."""
    return views.BrokerDelete(
        id="b2",
        name='Testnet "quoted" <b>',
        exchange_name="Binance",
        orders=3,
        positions=1,
        guards=1,
        webhooks=2,
        next_default="Practice",
        error="3 orders of this account could not be canceled yet, so it was not removed.",
    )


def _cards() -> tuple[views.BrokerRow, ...]:
    fine = views.TestResult(broker_id="b1", state="ok", detail="100000 USDT · 1 BTC", latency_ms=38, at=NOW, notices=NOTICES)
    refused = views.TestResult(broker_id="b2", state="failed", detail="The exchange refused the key (−2015).")
    return (
        views.BrokerRow(
            id="b1",
            name="Binance main",
            exchange="binance",
            exchange_name="Binance",
            description="Long-term account, no bots.",
            key_hint="9f3A",
            is_default=True,
            status="ok",
            status_word="Ready",
            mode="By hand, Webhooks, Bots",
            subaccount="grid-and-some-more-words-in-a-very-long-name",
            test=fine,
        ),
        views.BrokerRow(
            id="b2",
            name='Testnet "quoted" <b>',
            exchange="binance",
            exchange_name="Binance",
            key_hint="77qx",
            is_testnet=True,
            status="error",
            status_word="Error",
            status_reason="The API key no longer works.",
            is_key_refused=True,
            mode="Webhooks",
            test=refused,
        ),
        views.BrokerRow(
            id="b3",
            name="Demo",
            exchange="binance",
            exchange_name="Emulator",
            is_simulated=True,
            status="untested",
            status_word="Not tested",
            mode="By hand",
            test=views.TestResult(broker_id="b3"),
        ),
        views.BrokerRow(
            id="b4",
            name="Practice",
            exchange="paper",
            exchange_name="Paper trading",
            is_paper=True,
            status="off",
            status_word="Off",
            status_reason="Trading mode off: nothing is opened. Stops, cancels and closing by hand go on.",
            mode="Off",
            test=views.TestResult(broker_id="b4"),
        ),
    )


def brokers(shell: views.Shell) -> views.BrokersView:
    """Four accounts: fine, broken, untested, paper and off."""
    return views.BrokersView(shell=shell, form=broker_form(), brokers=views.Region(rows=_cards()))


def fragments(shell: views.Shell) -> dict[str, object]:
    """Every fragment of the area: template → region."""
    page = brokers(shell)
    return {
        "fragments/brokers/_brokers.html": page.brokers,
        "fragments/brokers/_broker_card.html": page.brokers.rows[0],
        "fragments/brokers/_broker_edit.html": edit_form(),
        "fragments/brokers/_broker_capabilities.html": capabilities(),
        "fragments/brokers/_broker_delete.html": question(),
        "fragments/brokers/_broker_reset.html": page.brokers.rows[3],
        "fragments/brokers/_broker_form.html": broker_form(errors={"": "Not saved.", "name": "That name is taken."}),
        "fragments/brokers/_broker_exchange.html": views.ExchangeFacts(sandbox="demo", is_tested=False, is_testnet=True),
        "fragments/brokers/_broker_test_result.html": replace(page.brokers.rows[0].test, steps=_GOOD),
        "fragments/brokers/_broker_try.html": views.KeyTry(steps=_GOOD, is_success=True, latency_ms=412),
    }
