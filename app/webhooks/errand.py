"""A delivery that is understood, and on which terms it is worked; the names of its orders are made here. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from app.trading.records import OrderRecord
from app.webhooks.alert import Action, Alert, Reading
from app.webhooks.bounds import letters
from app.webhooks.lanes import Place
from app.webhooks.outcome import Mark
from app.webhooks.receive import Delivery
from app.webhooks.rules import HookRules

#: Behind the key of a reversal's closing order: the order that opens the other side.
OPEN: Final = "|open"
#: What asks for nothing on any account.
QUIET: Final = frozenset({Action.PING, Action.NONE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What is to be done about a delivery. `made` are orders of it by key, that a process before this one has made."""

    delivery: Delivery
    reading: Reading
    rules: HookRules
    max_age_s: int
    made: Mapping[str, OrderRecord] = field(default_factory=dict)

    @property
    def user_id(self) -> UUID:
        """Whose it is."""
        return self.delivery.user_id

    @property
    def is_replay(self) -> bool:
        """Whether it repeats another on paper: then neither the original's moment nor its name counts."""
        return self.delivery.replay_of is not None

    def key_of(self, place: int) -> str:
        """Return what names the first order of the wish at `place` for ever, after a crash and in another process too.

        The sender's name for the signal if it gave one, else the delivery; wishes of one message that share it are numbered. A bar in the
        sender's name is doubled, so that no name is taken for another one with what we append.
        """
        alerts, delivery = self.reading.alerts, self.delivery
        named = None if self.is_replay else alerts[place].key
        number = 1 + sum(1 for other in alerts[:place] if self.is_replay or other.key == named)
        base = f"webhook:{delivery.webhook_id}:id:{named.replace('|', '||')}" if named else f"webhook:{delivery.webhook_id}:{delivery.id}"
        return base if number == 1 else f"{base}|{number}"


def marks_of(delivery: Delivery, reading: Reading, made: Mapping[str, OrderRecord]) -> tuple[Mark, ...]:
    """Return the marks of a delivery's orders that were made (by key), each with the moment of the wish that asked for it."""
    errand = Errand(delivery=delivery, reading=reading, rules=HookRules(), max_age_s=1, made=made)
    found = []
    for place, alert in enumerate(reading.alerts):
        if alert.at is not None and not errand.is_replay:
            key = errand.key_of(place)
            orders = [made[name] for name in (key, key + OPEN) if name in made]
            found += [Mark(broker_id=order.broker_id, symbol=order.symbol, at=alert.at) for order in orders]
    return tuple(found)


def places_of(delivery: Delivery, alerts: tuple[Alert, ...]) -> frozenset[Place]:
    """Return where a delivery trades; what is not certain yet counts as anywhere of the user's."""
    if delivery.is_test:
        return frozenset()
    rules = delivery.rules or {}
    found = set()
    for alert in alerts:
        if alert.action in QUIET:
            continue
        is_elsewhere = alert.account is not None and delivery.replay_of is None and (delivery.rules is None or rules.get("other_accounts"))
        broker_id = None if is_elsewhere or delivery.account is None else delivery.account.id
        symbol = alert.symbol or rules.get("symbol")
        found.add(Place(user_id=delivery.user_id, broker_id=broker_id, symbol=letters(symbol) if symbol else None))
    return frozenset(found)
