"""The control interface under `/_`: accounts, faults, a look inside. It exists for tests, benchmarks and the demo."""

from typing import Any

from aiohttp import web

from app.emulator import rendering
from app.emulator.bars import MINUTE_MS
from app.emulator.control_http import guarded, read_amount, read_document, reply
from app.emulator.expectations import Expectations
from app.emulator.fault_rules import INSTANT_FAULTS, read_rule
from app.emulator.limits import changed_settings
from app.emulator.venue import Venue
from app.emulator.verdict import judge, read_fills
from app.errors import InvalidInput, NotFound

_MAX_ADVANCE_MINUTES = 10_000


def add_control_routes(router: web.UrlDispatcher, venue: Venue) -> None:
    """Put the control interface on a router."""
    control = _Control(venue)
    for method, path, handler in (
        ("POST", "/_accounts", control.open_account),
        ("POST", "/_revoke", control.revoke_key),
        ("GET", "/_state", control.state),
        ("GET", "/_orders", control.orders),
        ("GET", "/_fault", control.list_faults),
        ("POST", "/_fault", control.add_fault),
        ("DELETE", "/_fault", control.clear_faults),
        ("GET", "/_log", control.log),
        ("DELETE", "/_log", control.clear_log),
        ("GET", "/_verdict", control.verdict),
        ("POST", "/_verdict", control.verdict_on_fills),
        ("GET", "/_limits", control.limits),
        ("POST", "/_limits", control.set_limits),
        ("DELETE", "/_limits", control.forget_usage),
        ("POST", "/_pause", control.pause),
        ("POST", "/_resume", control.resume),
        ("POST", "/_advance", control.advance),
    ):
        router.add_route(method, path, guarded(handler))


class _Control:
    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    async def open_account(self, request: web.Request) -> web.Response:
        document = await read_document(request)
        api_key, api_secret = document.get("api_key"), document.get("api_secret")
        balances = document.get("balances", {})
        if not isinstance(api_key, str) or not isinstance(api_secret, str) or not api_key or not api_secret:
            raise InvalidInput("api_key and api_secret must be texts", field="api_key")
        if not isinstance(balances, dict):
            raise InvalidInput("balances must be an object of asset and amount", field="balances")
        amounts = {str(asset): read_amount(f"the amount of {asset}", text, field="balances") for asset, text in balances.items()}
        exchange = self._venue.exchange
        if document.get("if_absent") is True and api_key in exchange.accounts:
            return reply({"api_key": api_key, "created": False})
        fees = {"pays_in_bnb": document.get("bnb_fee") is True, "pays_in_quote": document.get("quote_fee") is True}
        exchange.open_account(api_key, api_secret, amounts, **fees)
        return reply({"api_key": api_key, "created": True})

    async def revoke_key(self, request: web.Request) -> web.Response:
        api_key = (await read_document(request)).get("api_key")
        if not isinstance(api_key, str) or api_key not in self._venue.exchange.accounts:
            raise InvalidInput("api_key must be that of an account", field="api_key")
        self._venue.exchange.revoke(api_key)
        self._venue.users.end(api_key)
        return reply({"api_key": api_key})

    async def state(self, _request: web.Request) -> web.Response:
        venue = self._venue
        exchange, clock = venue.exchange, venue.clock
        return reply(
            {
                "server_time": clock.wall_now(),
                "elapsed_ms": clock.wall.now() - venue.faults.started_ms,
                "market_time": clock.now(),
                "speed": clock.speed,
                "is_paused": clock.paused_at is not None,
                "is_virtual": clock.wall.is_virtual,
                "shift_ms": venue.shift_ms,
                "seed": venue.seed,
                "symbols": {
                    symbol: {"last_price": str(market.last_price), "is_over": market.is_over} for symbol, market in exchange.markets.items()
                },
                "order_count": len(exchange.orders),
                "open_order_count": sum(len(account.open_orders) for account in exchange.accounts.values()),
                "execution_count": exchange.last_execution_id,
                "stream_connections": venue.sockets.count,
                "user_subscriptions": venue.users.subscription_count,
                "faults": venue.faults.describe(),
                "accounts": [
                    {"api_key": account.api_key, **rendering.account(account, exchange.fees, omit_zero=False)}
                    for account in exchange.accounts.values()
                ],
            }
        )

    async def orders(self, _request: web.Request) -> web.Response:
        return reply(
            [
                {**rendering.order_query(order), "api_key": order.api_key, "received_ns": order.received_ns}
                for order in self._venue.exchange.orders.values()
            ]
        )

    async def list_faults(self, _request: web.Request) -> web.Response:
        return reply(self._venue.faults.describe())

    async def add_fault(self, request: web.Request) -> web.Response:
        rule = read_rule(await read_document(request))
        number = self._venue.faults.put(rule)
        return reply({"id": number, "do": rule.do, "is_immediate": rule.do in INSTANT_FAULTS and rule.at_ms is None})

    async def clear_faults(self, request: web.Request) -> web.Response:
        text = request.rel_url.query.get("id")
        if text is None:
            self._venue.faults.clear()
        elif not text.isdigit() or not self._venue.faults.remove(int(text)):
            raise NotFound(f"there is no fault {text!r}")
        return reply(self._venue.faults.describe())

    async def log(self, request: web.Request) -> web.Response:
        query, journal = request.rel_url.query, self._venue.journal
        since = query.get("since", "0")
        if not since.isdigit():
            raise InvalidInput(f"since must be an entry's number, was {since!r}", field="since")
        entries = [entry.describe() for entry in journal.since(int(since), method=query.get("method"), path=query.get("path"))]
        return reply({"entries": entries, "last_number": journal.last_number, "forgotten": journal.forgotten})

    async def clear_log(self, _request: web.Request) -> web.Response:
        self._venue.journal.clear()
        return reply([])

    async def verdict(self, _request: web.Request) -> web.Response:
        return reply(judge(self._venue, self._expectations()).describe())

    async def verdict_on_fills(self, request: web.Request) -> web.Response:
        """The verdict with what the client says of its own fills."""
        fills = read_fills(await read_document(request))
        return reply(judge(self._venue, self._expectations(), fills=fills).describe())

    def _expectations(self) -> Expectations:
        expect = self._venue.config.expect
        if expect is None:
            raise NotFound("no scenario is running, so nothing is expected")
        return expect

    async def limits(self, _request: web.Request) -> web.Response:
        sockets = self._venue.sockets
        usage = self._venue.limits.describe_usage()
        return reply({**usage, "message_limit": sockets.message_limit, "connection_lifetime_s": sockets.lifetime_s})

    async def set_limits(self, request: web.Request) -> web.Response:
        """Change some limits; what is not named stays."""
        document = await read_document(request)
        limits, sockets = self._venue.limits, self._venue.sockets
        message_limit = document.pop("message_limit", sockets.message_limit)
        lifetime_s = document.pop("connection_lifetime_s", sockets.lifetime_s)
        if message_limit is not None and (not isinstance(message_limit, int) or isinstance(message_limit, bool) or message_limit < 1):
            raise InvalidInput(f"message_limit cannot be {message_limit!r}", field="message_limit")
        if not isinstance(lifetime_s, int | float) or isinstance(lifetime_s, bool) or lifetime_s <= 0:
            raise InvalidInput(f"connection_lifetime_s cannot be {lifetime_s!r}", field="connection_lifetime_s")
        limits.settings = changed_settings(limits.settings, document)
        sockets.message_limit, sockets.lifetime_s = message_limit, float(lifetime_s)
        return await self.limits(request)

    async def forget_usage(self, request: web.Request) -> web.Response:
        self._venue.limits.forget()
        return await self.limits(request)

    async def pause(self, _request: web.Request) -> web.Response:
        self._venue.clock.pause()
        return self._moved()

    async def resume(self, _request: web.Request) -> web.Response:
        self._venue.clock.resume()
        return self._moved()

    async def advance(self, request: web.Request) -> web.Response:
        """Move a virtual clock or a paused market by `minutes` or `ms`, matching and publishing all that happens on the way."""
        duration_ms = _duration(await read_document(request))
        venue = self._venue
        if venue.clock.wall.is_virtual:
            await venue.timeline.advance(duration_ms, venue.feed.step)
        else:
            venue.clock.skip(duration_ms)
            venue.feed.step()
        return self._moved()

    def _moved(self) -> web.Response:
        self._venue.feed.nudge()
        self._venue.exchange.changes += 1
        return reply({"market_time": self._venue.clock.now(), "server_time": self._venue.clock.wall_now()})


def _duration(document: dict[str, Any]) -> int:
    """Return the milliseconds that one of `minutes` and `ms` asks for."""
    if len(document) != 1 or not document.keys() <= {"minutes", "ms"}:
        raise InvalidInput("give either minutes or ms, and nothing else", field="minutes")
    ((name, value),) = document.items()
    is_number = isinstance(value, int) or (name == "minutes" and isinstance(value, float))
    duration_ms = int(value * (MINUTE_MS if name == "minutes" else 1)) if is_number and not isinstance(value, bool) else 0
    if not 0 < duration_ms <= _MAX_ADVANCE_MINUTES * MINUTE_MS:
        raise InvalidInput(f"{name} must be above 0 and at most {_MAX_ADVANCE_MINUTES} minutes, was {value!r}", field=name)
    return duration_ms
