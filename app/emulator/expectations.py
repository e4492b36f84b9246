"""What a scenario expects of a run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.errors import InvalidInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """A number that must lie between `least` and `most`, both allowed; None sets no bound."""

    least: int | None = None
    most: int | None = None

    def holds(self, number: int) -> bool:
        """Return whether a number is allowed."""
        return (self.least is None or number >= self.least) and (self.most is None or number <= self.most)

    def describe(self) -> dict[str, int]:
        """Return it as a scenario writes it."""
        return {name: value for name, value in (("min", self.least), ("max", self.most)) if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectations:
    """What must be true at the end.

    `venue_orders_per_intent` and `posts_per_intent` bound, for every client order id, the orders the venue has of it and the times it was
    sent. `orders`, `open_orders` and `executions` bound totals, `statuses` the number of answers of each HTTP status. `is_audited` asks
    the venue's own books to add up, `is_fills_equal` the client's fills to be the venue's.
    """

    venue_orders_per_intent: Bounds | None = None
    posts_per_intent: Bounds | None = None
    orders: Bounds | None = None
    open_orders: Bounds | None = None
    executions: Bounds | None = None
    statuses: Mapping[int, Bounds] = field(default_factory=dict)
    is_audited: bool = False
    is_fills_equal: bool = False


def read_expectations(document: object) -> Expectations:
    """Return the expectations of a scenario's `expect`.

    Raises:
        InvalidInput: a name is unknown or has a value that cannot be used.
    """
    if not isinstance(document, Mapping):
        raise InvalidInput("expect must be a table", field="expect")
    given: dict[str, Any] = {}
    for name, value in document.items():
        if name in ("venue_orders_per_intent", "posts_per_intent", "orders", "open_orders", "executions"):
            given[name] = _bounds(name, value)
        elif name == "statuses" and isinstance(value, Mapping):
            given[name] = {_status(text): _bounds(f"statuses.{text}", each) for text, each in value.items()}
        elif name == "audit" and value == "clean":
            given["is_audited"] = True
        elif name == "fills_equal" and value is True:
            given["is_fills_equal"] = True
        else:
            raise InvalidInput(f"expect cannot say {name} = {value!r}", field=name)
    return Expectations(**given)


def _bounds(name: str, value: object) -> Bounds:
    is_usable = (
        isinstance(value, Mapping)
        and value
        and value.keys() <= {"min", "max"}
        and all(isinstance(number, int) and not isinstance(number, bool) and number >= 0 for number in value.values())
    )
    if not isinstance(value, Mapping) or not is_usable:
        raise InvalidInput(f"{name} must be like {{max = 1}} or {{min = 1, max = 2}}, was {value!r}", field=name)
    return Bounds(least=value.get("min"), most=value.get("max"))


def _status(text: object) -> int:
    if not str(text).isdigit() or not 100 <= int(str(text)) <= 599:
        raise InvalidInput(f"{text!r} is no HTTP status", field="statuses")
    return int(str(text))
