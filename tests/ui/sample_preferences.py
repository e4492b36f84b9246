"""Examples of the page of preferences: a provider that answers, one that does not, and one that is off."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from app.ui import views
from app.ui.templating import PageView

NOW = datetime(2026, 11, 21, 14, 4, 58, tzinfo=UTC)
_MODELS = ("llama3.2:latest", "qwen3:32b", 'odd "name" <b>')


def looks() -> views.LooksForm:
    """Dark, English, in the browser's zone."""
    return views.LooksForm(
        csrf_token="csrf-\"'<token>",
        theme="dark",
        language="en",
        zone="local",
        timezone="Europe/Paris",
        now=NOW,
        currency="EUR",
        currencies=("USDT", "EUR", "BTC"),
    )


def default_broker() -> views.DefaultBrokerForm:
    """Two accounts, one with an awkward name, saved just now."""
    choices = (views.Choice(value="b1", label="Binance main"), views.Choice(value="b2", label='Testnet "quoted" <b>'))
    return views.DefaultBrokerForm(csrf_token=looks().csrf_token, brokers=choices, chosen="b2", was_saved=True)


def order_habits() -> views.OrderHabits:
    """Orders are sent at once."""
    return views.OrderHabits(csrf_token=looks().csrf_token, confirms=False)


def models() -> views.ModelList:
    """What an Ollama has."""
    return views.ModelList(provider="ollama", state="ok", detail="It answers, and it has that model.", models=_MODELS)


def ollama() -> views.AiForm:
    """Ollama on this machine."""
    return views.AiForm(
        provider="ollama", has_key=True, endpoint_url="http://localhost:11434", ollama_model="llama3.2:latest", models=models()
    )


def openrouter() -> views.AiForm:
    """OpenRouter, whose key does not work."""
    failed = views.ModelList(provider="openrouter", state="failed", detail="OpenRouter does not take that key.")
    errors = {"": "Not saved.", "ai_api_key": "OpenRouter needs a key. Enter yours.", "ai_endpoint_url": "That is no address."}
    return views.AiForm(provider="openrouter", has_key=True, key_hint="9f3c", models=failed, errors=errors)


def pages(made: Callable[..., views.Shell], *, language: str) -> dict[str, tuple[str, PageView]]:
    """The page: name → (template, view)."""
    shell = made(page="preferences", language=language)
    page = "pages/accounts/preferences.html"
    view = views.PreferencesView(
        shell=shell, looks=replace(looks(), language=language), broker=default_broker(), orders=order_habits(), ai=ollama()
    )
    off = views.DefaultBrokerForm(csrf_token=looks().csrf_token)
    return {
        "preferences": (page, view),
        "preferences-openrouter": (page, replace(view, ai=openrouter())),
        "preferences-off": (page, replace(view, ai=views.AiForm(endpoint_url="http://localhost:11434"), broker=off)),
    }


def fragments() -> dict[str, object]:
    """Its fragments: template → region."""
    return {
        "fragments/accounts/_looks.html": looks(),
        "fragments/accounts/_order_habits.html": order_habits(),
        "fragments/accounts/_default_broker.html": default_broker(),
        "fragments/accounts/_ai.html": openrouter(),
        "fragments/accounts/_ai_models.html": models(),
    }
