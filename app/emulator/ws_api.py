"""The websocket API: requests that concern a connection itself and the account streams on it.

Orders are placed over REST here; this is the part of the API that user data needs. Source: Binance Spot API documentation,
web-socket-api.md "Request format", "Response format" and "User Data Stream requests".
"""

from collections.abc import Callable
from typing import Any, Final

import orjson
from aiohttp import web

from app.emulator import signature
from app.emulator.clock import MarketClock
from app.emulator.errors import VenueError
from app.emulator.exchange import Exchange
from app.emulator.ledger import Account
from app.emulator.limits import LimitExceeded, Limits
from app.emulator.sockets import Connection, Sockets
from app.emulator.user_stream import UserSessions
from app.emulator.weights import api_weight_of

Json = dict[str, Any]
_SUBSCRIBE: Final = "userDataStream.subscribe.signature"
_RATE_LIMITS: Final = "returnRateLimits"


class WsApi:
    """Answers the requests of one venue's websocket API."""

    def __init__(self, exchange: Exchange, clock: MarketClock, users: UserSessions, limits: Limits) -> None:
        self._exchange = exchange
        self._clock = clock
        self._users = users
        self._limits = limits
        self._methods: dict[str, Callable[[Connection, Json], object]] = {
            "ping": self._ping,
            "time": self._time,
            _SUBSCRIBE: self._subscribe,
            "userDataStream.subscribe": self._subscribe_session,
            "userDataStream.unsubscribe": self._unsubscribe,
            "session.subscriptions": self._subscriptions,
            "session.status": self._status,
        }

    async def serve(self, request: web.Request, sockets: Sockets) -> web.WebSocketResponse:
        """Run one connection until either side ends it."""

        async def received(connection: Connection, text: str) -> None:
            self.answer(connection, text)

        return await sockets.serve(request, on_open=self._users.opened, on_text=received, on_gone=self._users.gone, is_api=True)

    def answer(self, connection: Connection, text: str) -> None:
        """Do what a frame asks and send the answer; what follows from it comes after the answer."""
        try:
            request = orjson.loads(text)
        except orjson.JSONDecodeError:
            request = None
        if not isinstance(request, dict):
            request = {}
        answer: Json = {"id": request.get("id")}
        try:
            answer |= {"status": 200, "result": self._result(connection, request)}
        except VenueError as error:
            answer |= {"status": error.status, "error": self._failure(error)}
        parameters = request.get("params")
        if not isinstance(parameters, dict) or parameters.get(_RATE_LIMITS) is not False:
            answer["rateLimits"] = self._limits.describe_weight(connection.ip)
        connection.send(orjson.dumps(answer).decode())
        self._users.tell_endings(connection)

    def _failure(self, error: VenueError) -> Json:
        failure: Json = {"code": error.code, "msg": error.message}
        if isinstance(error, LimitExceeded):
            failure["data"] = {"serverTime": self._clock.wall_now(), "retryAfter": error.until_ms}
        return failure

    def _result(self, connection: Connection, request: Json) -> object:
        method, parameters = request.get("method"), request.get("params", {})
        self._limits.admit(connection.ip, api_weight_of(str(method).removeprefix("v3/")))
        if "id" not in request or not isinstance(request["id"], int | str | None) or not isinstance(parameters, dict):
            raise VenueError(-1135, "Invalid JSON Request")
        known = self._methods.get(str(method).removeprefix("v3/"))
        if known is None:
            raise VenueError(-1020, "This operation is not supported.")
        return known(connection, {name: value for name, value in parameters.items() if name != _RATE_LIMITS})

    def _ping(self, _connection: Connection, _parameters: Json) -> Json:
        return {}

    def _time(self, _connection: Connection, _parameters: Json) -> Json:
        return {"serverTime": self._clock.wall_now()}

    def _subscribe(self, connection: Connection, parameters: Json) -> Json:
        account = self._authenticate(parameters)
        return {"subscriptionId": self._users.subscribe(connection, account)}

    def _subscribe_session(self, _connection: Connection, _parameters: Json) -> Json:
        raise VenueError(-2015, "Invalid API-key, IP, or permissions for action.", status=401)  # nobody can log on to a session here

    def _unsubscribe(self, connection: Connection, parameters: Json) -> Json:
        subscription_id = parameters.get("subscriptionId")
        if subscription_id is not None and not isinstance(subscription_id, int):
            raise VenueError.illegal_characters("subscriptionId", "^[0-9]{1,20}$")
        self._users.unsubscribe(connection, subscription_id)
        return {}

    def _subscriptions(self, connection: Connection, _parameters: Json) -> list[Json]:
        return [{"subscriptionId": each} for each in self._users.subscriptions(connection)]

    def _status(self, connection: Connection, _parameters: Json) -> Json:
        return {
            "apiKey": None,
            "authorizedSince": None,
            "connectedSince": self._users.connected_since(connection),
            "returnRateLimits": False,
            "serverTime": self._clock.wall_now(),
            "userDataStream": bool(self._users.subscriptions(connection)),
        }

    def _authenticate(self, parameters: Json) -> Account:
        """The signature is over all other parameters in the order of their names, as they stand."""
        given = {name: _text(value) for name, value in parameters.items()}
        api_key = signature.check_key_format(given.get("apiKey"))
        signed = given.pop("signature", "")
        if not signed:
            raise VenueError.mandatory("signature")
        signature.check_timestamp(given, self._clock.wall_now())
        account = self._exchange.owner(api_key)
        signature.check_signature(account.api_secret, "&".join(f"{name}={given[name]}" for name in sorted(given)), signed)
        return account


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
