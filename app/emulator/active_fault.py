"""A fault rule at work."""

from dataclasses import dataclass
from random import Random

from app.emulator.fault_rules import FaultRule
from app.emulator.requests import Received
from app.emulator.timeline import Entry


@dataclass(slots=True, kw_only=True)
class ActiveFault:
    """A rule under its number, and how far it has come. `timer` begins or ends it."""

    number: int
    rule: FaultRule
    random: Random
    is_waiting: bool = False
    timer: Entry | None = None
    skipped: int = 0
    hits: int = 0

    def hits_request(self, request: Received, index: int) -> bool:
        """Return whether it hits a request, the `index`-th of its method and path, and count it."""
        rule = self.rule
        if not (
            rule.method in ("*", request.method)
            and rule.path in ("*", request.path)
            and rule.symbol in ("*", request.symbol)
            and rule.api_key in ("*", request.api_key)
            and (not rule.client_order_id_prefix or (request.client_order_id or "").startswith(rule.client_order_id_prefix))
        ):
            return False
        if rule.index is not None and index < rule.index:
            return False
        if self.skipped < rule.skip:
            self.skipped += 1
            return False
        if rule.p < 1 and self.random.random() >= rule.p:
            return False
        self.hits += 1
        return True

    @property
    def is_used_up(self) -> bool:
        """Whether it has hit as often as it should."""
        return self.rule.times is not None and self.hits >= self.rule.times

    def describe(self) -> dict[str, object]:
        """Return it for `GET /_fault`."""
        rule = self.rule
        shown: dict[str, object] = {"id": self.number, "do": rule.do, "is_waiting": self.is_waiting, "hits": self.hits}
        for name in ("method", "path", "symbol", "api_key", "stream"):
            if getattr(rule, name) != "*":
                shown[name] = getattr(rule, name)
        return shown
