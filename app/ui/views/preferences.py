"""What a person chose: looks, the default account, the AI provider."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from app.ui.views.shell import Choice, Shell


@dataclass(frozen=True, slots=True, kw_only=True)
class LooksForm:
    """Fragment `_looks.html`. `zone` is what was chosen, `timezone` what it comes to in this browser; `now` is shown as an example."""

    csrf_token: str
    theme: str
    language: str
    zone: Literal["utc", "local"]
    timezone: str
    now: datetime
    has_shortcuts: bool = True
    currency: str = "USDT"
    currencies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultBrokerForm:
    """Fragment `_default_broker.html`. `was_saved` just now."""

    csrf_token: str
    brokers: tuple[Choice, ...] = ()
    chosen: str = ""
    was_saved: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderHabits:
    """Fragment `_order_habits.html`. `confirms` is whether the order ticket asks once more before it sends."""

    csrf_token: str
    confirms: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelList:
    """Fragment `_ai_models.html`: what came of asking a provider. `detail` is a sentence, already translated."""

    provider: str = ""
    state: Literal["unasked", "asking", "ok", "failed"] = "unasked"
    detail: str = ""
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AiForm:
    """Fragment `_ai.html`. Of the key only that it is there, and how it ends. `errors` maps a field's name to a sentence."""

    provider: str = "none"
    has_key: bool = False
    key_hint: str = ""
    endpoint_url: str = ""
    openrouter_model: str = ""
    ollama_model: str = ""
    models: ModelList = field(default_factory=ModelList)
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferencesView:
    """Page `pages/accounts/preferences.html`."""

    shell: Shell
    looks: LooksForm
    broker: DefaultBrokerForm
    orders: OrderHabits
    ai: AiForm
