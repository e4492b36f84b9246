"""Control routes that change what the venue allows: the rules of a symbol, the permissions of a key."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from aiohttp import web

from app.emulator.control_http import guarded, read_amount, read_document, reply
from app.emulator.control_market import find_market
from app.emulator.venue import Venue
from app.errors import InvalidInput, NotFound

_STATUSES = ("TRADING", "END_OF_DAY", "HALT", "BREAK", "CANCEL_ONLY")
_FIELDS: Mapping[str, Callable[[Decimal], dict[str, object]]] = {
    "tick": lambda value: {"tick_size": value, "min_price": value},
    "step": lambda value: {"step_size": value, "min_quantity": value},
    "min_notional": lambda value: {"min_notional": value},
}
_PERMISSIONS = {
    "revoked": "is_revoked",
    "read_only": "is_read_only",
    "ip_allowed": "is_ip_allowed",
    "withdrawals": "may_withdraw",
    "ip_bound": "is_ip_bound",
}


def add_rule_control_routes(router: web.UrlDispatcher, venue: Venue) -> None:
    """Put these routes on a router."""
    control = _RuleControl(venue)
    router.add_post("/_symbols", guarded(control.symbol))
    router.add_post("/_keys", guarded(control.key))


class _RuleControl:
    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    async def symbol(self, request: web.Request) -> web.Response:
        """Change a symbol's `status`, `tick`, `step` or `min_notional`. Orders can be canceled whatever the status."""
        document = await read_document(request)
        market = find_market(self._venue, document)
        changes: dict[str, object] = {}
        for name, value in document.items():
            if name == "status" and value in _STATUSES:
                changes["status"] = value
            elif name in _FIELDS:
                changes |= _FIELDS[name](_above_zero(name, value))
            elif name != "symbol":
                raise InvalidInput(f"{name} cannot be {value!r}", field=name)
        self._venue.exchange.change_rules(market.rules.symbol, **changes)
        return reply(market.rules.describe())

    async def key(self, request: web.Request) -> web.Response:
        """Take permissions of an account's key away or give them back, or say what it is told to have: see the table."""
        document = await read_document(request)
        account = self._venue.exchange.accounts.get(str(document.pop("api_key", None)))
        if account is None:
            raise NotFound("no account here has that key")
        _check_permissions(document)
        for name, value in document.items():
            setattr(account, _PERMISSIONS[name], value)
        self._venue.exchange.changes += 1
        if account.is_revoked or not account.is_ip_allowed:
            self._venue.users.end(account.api_key)
        return reply({"api_key": account.api_key, **{name: getattr(account, field) for name, field in _PERMISSIONS.items()}})


def _check_permissions(document: dict[str, Any]) -> None:
    for name, value in document.items():
        if name not in _PERMISSIONS or not isinstance(value, bool):
            raise InvalidInput(f"{name} cannot be {value!r}", field=name)


def _above_zero(name: str, given: object) -> Decimal:
    value = read_amount(name, given, field=name)
    if value == 0:
        raise InvalidInput(f"{name} must be above 0", field=name)
    return value
