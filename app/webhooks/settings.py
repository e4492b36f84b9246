"""What a webhook's owner sets: which account, which senders, which rules, how fast and how late, and when an alert is expected."""

from collections.abc import Mapping
from typing import Any, Final, TypedDict
from uuid import UUID

from app.domain.candles import LIVE_TIMEFRAMES
from app.errors import InvalidInput
from app.webhooks.models import Webhook
from app.webhooks.rules import HookRules
from app.webhooks.senders import are_within, read_senders

LONGEST_AGE_S: Final = 86_400
MOST_PER_MINUTE: Final = 6_000
_INTERVALS: Final = tuple(timeframe.value for timeframe in LIVE_TIMEFRAMES)
#: What fills in where an alert says nothing: with it an alert that anybody can send becomes another order.
_DEFAULTS: Final = ("symbol", "size", "always_default_size", "stop_percent", "target_percent", "trailing_percent")


class HookSettings(TypedDict, total=False):
    """Settings that are given; what is missing stays as it is.

    `broker_id` None: the default account. `allowed_ips` None: from anywhere; `tradingview` stands for TradingView's addresses. `max_age_s`
    in seconds. `interval` None: no alert is expected.
    """

    broker_id: UUID | None
    rules: HookRules
    allowed_ips: list[str] | None
    max_age_s: int
    per_minute: int
    interval: str | None


class HookChanges(HookSettings, total=False):
    """Settings and what else can be changed; None in either of these two changes nothing."""

    name: str | None
    is_active: bool | None


def as_stored(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as columns hold them.

    Raises:
        InvalidInput: one cannot be used; the sentence says which and why.
    """
    found: dict[str, Any] = {name: value for name, value in given.items() if name not in ("name", "is_active")}
    if "rules" in found:
        rules: HookRules = found["rules"] or HookRules()
        found["rules"] = rules.model_dump(mode="json", exclude_defaults=True)
    if found.get("allowed_ips") is not None:
        found["allowed_ips"] = read_senders(found["allowed_ips"])
    age, rate = found.get("max_age_s"), found.get("per_minute")
    if age is not None and not 1 <= age <= LONGEST_AGE_S:
        raise InvalidInput(f"an alert that is traded may be from 1 to 86400 seconds old, was {age}", field="max_age_s")
    if rate is not None and not 1 <= rate <= MOST_PER_MINUTE:
        raise InvalidInput(f"a webhook can trade from 1 to 6000 alerts a minute, was {rate}", field="per_minute")
    interval = found.get("interval")
    if interval is None:
        return found
    found["interval"] = str(interval)
    if interval not in _INTERVALS:
        known, given_one = ", ".join(_INTERVALS), str(interval)[:20]
        raise InvalidInput(f"the interval must be one of {known}, was {given_one}", field="interval")
    return found


def widens(webhook: Webhook, stored: Mapping[str, Any]) -> bool:
    """Whether these settings, as columns hold them, let alerts do more than the webhook lets them now.

    Another account does, and so do more senders, looser bounds, and any other default. What narrows, or is only expected, does not.
    """
    old = HookRules.model_validate(webhook.rules)
    return (
        ("broker_id" in stored and stored["broker_id"] != webhook.broker_id)
        or ("allowed_ips" in stored and _more_may_send(webhook.allowed_ips, stored["allowed_ips"]))
        or stored.get("max_age_s", 0) > webhook.max_age_s
        or stored.get("per_minute", 0) > webhook.per_minute
        or ("rules" in stored and _loosens(old, HookRules.model_validate(stored["rules"])))
    )


def _more_may_send(old: list[str] | None, new: list[str] | None) -> bool:
    return old is not None and (new is None or not are_within(new, old))


def _loosens(old: HookRules, new: HookRules) -> bool:
    if any(getattr(old, name) != getattr(new, name) for name in _DEFAULTS):
        return True
    bounds = ((old.symbols, new.symbols), (old.sides, new.sides))
    return (
        any(before is not None and (after is None or not set(after) <= set(before)) for before, after in bounds)
        or (old.max_notional is not None and (new.max_notional is None or new.max_notional > old.max_notional))
        or (old.hours is not None and new.hours != old.hours)
        or (new.other_accounts and not old.other_accounts)
    )
