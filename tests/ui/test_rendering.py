import json
import re
from dataclasses import replace

import pytest

from app.ui.templating import Templating, triggers
from app.ui.views import Region
from tests.ui import sample_brokers, sample_views

BOTH = ("en", "fr")
INCLUDED = {
    "dashboard": (
        "fragments/shell/_status_items.html",
        "fragments/dashboard/_kpis.html",
        "fragments/dashboard/_balances.html",
        "fragments/dashboard/_price_chart.html",
        "fragments/dashboard/_equity_chart.html",
        "fragments/trading/_positions.html",
        "fragments/trading/_orders.html",
        "fragments/trading/_external_orders.html",
        "fragments/dashboard/_audit.html",
        "fragments/webhooks/_deliveries.html",
    ),
    "brokers": (
        "fragments/brokers/_brokers.html",
        "fragments/brokers/_broker_card.html",
        "fragments/shell/_trading_state.html",
        "fragments/shell/_kill_switch.html",
    ),
    "symbols": ("fragments/symbols/_updates.html", "fragments/symbols/_symbols.html"),
    "heartbeat": (
        "fragments/heartbeat/_feed.html",
        "fragments/heartbeat/_gaps.html",
        "fragments/heartbeat/_ledgers.html",
        "fragments/heartbeat/_symbol_hits.html",
    ),
    "webhooks": (
        "fragments/webhooks/_hooks.html",
        "fragments/webhooks/_hook_form.html",
        "fragments/webhooks/_hook_positions.html",
        "fragments/webhooks/_log_filter.html",
        "fragments/webhooks/_log.html",
    ),
    "delivery": (
        "fragments/webhooks/_delivery.html",
        "fragments/webhooks/_delivery_orders.html",
        "fragments/webhooks/_delivery_chain.html",
    ),
    "ticket": (
        "fragments/terminal/_ticket.html",
        "fragments/terminal/_ticket_form.html",
        "fragments/terminal/_ticket_figures.html",
    ),
    "portfolio": (
        "fragments/portfolio/_live.html",
        "fragments/portfolio/_curve.html",
        "fragments/portfolio/_holdings.html",
        "fragments/portfolio/_flows.html",
    ),
    "statistics": (
        "fragments/statistics/_filter.html",
        "fragments/statistics/_found.html",
        "fragments/statistics/_metrics.html",
        "fragments/statistics/_costs.html",
    ),
    "builder": ("fragments/webhooks/_builder_form.html", "fragments/webhooks/_built.html"),
}


def squeezed(html: str) -> str:
    return re.sub(r"\s+", " ", html).strip()


def page(templating: Templating, name: str, language: str = "en") -> str:
    template, view = sample_views.pages(language)[name]
    return templating.page(template, view)


@pytest.mark.parametrize("language", BOTH)
@pytest.mark.parametrize("name", sorted(sample_views.pages()))
def test_page_renders_in_its_readers_language(name: str, language: str, templating: Templating) -> None:
    html = page(templating, name, language)
    assert f'<html lang="{language}"' in html
    assert ("Skip to content" in html) == (language == "en")
    assert "None" not in re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)


@pytest.mark.parametrize("name", sorted(INCLUDED))
def test_fragment_alone_is_what_its_page_holds(name: str, templating: Templating) -> None:
    whole = squeezed(page(templating, name))
    view = sample_views.pages()[name][1]
    for template in INCLUDED[name]:
        alone = templating.fragment(template, sample_views.fragments()[template], reader=view.shell.reader)
        assert squeezed(alone) in whole, template


def test_markup_in_data_stays_text(templating: Templating) -> None:
    assert "<script>alert(1)" not in page(templating, "dashboard")
    assert "&lt;script&gt;alert(1)" in page(templating, "dashboard")
    assert 'aria-label="Testnet &#34;quoted&#34; &lt;b&gt;"' in page(templating, "brokers")


def test_csrf_token_reaches_htmx_and_plain_forms(templating: Templating) -> None:
    html = page(templating, "dashboard")
    found = re.search(r"<body hx-headers:inherited='([^']*)'", html)
    assert found is not None
    assert json.loads(found[1]) == {"X-CSRF-Token": sample_views.shell().csrf_token}
    posts = html.count('method="post"')
    assert posts == html.count('name="csrf_token" value="csrf-&#34;&#39;&lt;token&gt;"') > 0


def test_htmx_is_configured_to_leave_the_page_alone_on_server_errors(templating: Templating) -> None:
    found = re.search(r"""name="htmx-config" content='([^']*)'""", page(templating, "login"))
    assert found is not None
    assert json.loads(found[1]) == {
        "noSwap": [204, 304, "5xx"],
        "defaultTimeout": 15000,
        "extensions": "sse",
        "history": "reload",
        "transitions": False,
    }


def test_stream_is_opened_for_people_who_are_logged_in_only(templating: Templating) -> None:
    assert "/events?topics=bar%2Corders%2Cpositions%2Ccandle%3ABTC/USDT" in page(templating, "dashboard")
    assert "/events" not in page(templating, "login")


def test_environment_theme_and_palette_are_on_the_root_element(templating: Templating) -> None:
    view = sample_views.dashboard()
    shell = replace(view.shell, env="testnet", theme="light", updown="cvd")
    html = templating.page("pages/dashboard/dashboard.html", replace(view, shell=shell))
    assert 'data-theme="light" data-env="testnet" data-updown="cvd"' in html
    assert "TESTNET" in html
    assert "No real funds" in html


def test_secrets_that_were_typed_are_not_sent_back(templating: Templating) -> None:
    form = sample_brokers.broker_form(name="Main", errors={"name": "That name is taken."})
    html = templating.fragment("fragments/brokers/_broker_form.html", form, reader=sample_views.shell().reader)
    for name in ("api_key", "api_secret", "api_password"):
        found = re.search(rf'<input[^>]*name="{name}"[^>]*>', html)
        assert found is not None
        assert "value=" not in found[0]
    assert 'aria-invalid="true"' in html
    assert "That name is taken." in html


def test_each_region_state_has_its_own_words(templating: Templating) -> None:
    html = page(templating, "dashboard-troubled")
    for words in ("Loading…", "Stale since 15:04:58", "The database does not answer.", "0190a7b2-77aa", "You may not see this."):
        assert words in html
    empty = templating.fragment("fragments/trading/_orders.html", Region(), reader=sample_views.shell().reader)
    assert "No orders yet" in empty


def test_live_message_puts_a_region_in_its_place(templating: Templating) -> None:
    html = templating.partial(
        "fragments/dashboard/_kpis.html", sample_views.dashboard().kpis, target="kpis", reader=sample_views.shell().reader
    )
    assert html.startswith('<hx-partial hx-target="#kpis" hx-swap="outerMorph"><dl class="kpis" id="kpis">')
    assert html.endswith("</hx-partial>")


def test_trigger_header_is_latin_and_starts_at_the_body() -> None:
    header = triggers(toast="Compte enregistré – 100 €", level="success", close_dialog="broker-dialog")
    header.encode("ascii")
    assert json.loads(header) == {
        "toast": {"target": "body", "level": "success", "text": "Compte enregistré – 100 €"},
        "dialog-close": {"target": "body", "id": "broker-dialog"},
    }


def test_chart_data_is_the_shape_of_the_live_events(templating: Templating) -> None:
    html = page(templating, "dashboard")
    fills = re.search(r'id="fills-data">(.*?)</script>', html)
    equity = re.search(r'id="equity-data">(.*?)</script>', html)
    assert fills is not None
    assert equity is not None
    assert json.loads(fills[1])[0] == {"s": "BTC/USDT", "side": "buy", "p": "57102.10", "q": "0.062", "t": 1795266298000}
    assert json.loads(equity[1])[0].keys() == {"t", "v"}
