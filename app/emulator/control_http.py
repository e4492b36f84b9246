"""What all control routes share: who may use them, reading bodies, answering."""

from collections.abc import Awaitable, Callable
from decimal import Decimal, DecimalException
from typing import Any

import orjson
from aiohttp import web

from app.emulator.config import is_loopback
from app.errors import AppError, Forbidden, InvalidInput

Handler = Callable[[web.Request], Awaitable[web.Response]]


def guarded(handler: Handler) -> Handler:
    """Answer errors as JSON, and keep web pages out: a browser on this machine may reach loopback, its pages may not."""

    async def guard(request: web.Request) -> web.Response:
        try:
            if request.headers.get("Origin") is not None or not is_loopback(request.url.host or ""):
                raise Forbidden("the control interface is not for web pages")
            return await handler(request)
        except AppError as error:
            return reply({"code": error.code, "msg": error.message}, status=error.status)

    return guard


async def read_document(request: web.Request) -> dict[str, Any]:
    """Return the JSON object of a request's body.

    Raises:
        InvalidInput: it is none.
    """
    try:
        document = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"the body is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidInput("the body must be a JSON object")
    return document


def read_amount(name: str, text: object, *, field: str) -> Decimal:
    """Return a number of the body, a finite one that is not negative; `name` is what an error calls it.

    Raises:
        InvalidInput: it is none.
    """
    try:
        amount = Decimal(str(text))
    except DecimalException as error:
        raise InvalidInput(f"{name} must be a decimal, was {text!r}", field=field) from error
    if not amount.is_finite() or amount < 0:
        raise InvalidInput(f"{name} must be a finite number ≥ 0, was {text!r}", field=field)
    return amount


def reply(document: object, *, status: int = 200) -> web.Response:
    """Return a JSON answer."""
    return web.Response(body=orjson.dumps(document), status=status, content_type="application/json")
