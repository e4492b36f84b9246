"""What every request passes through: an id, a size limit, the checks of host and origin, paths without a trailing slash, security headers.

Plain ASGI, since Starlette's BaseHTTPMiddleware breaks streaming and costs a task per request.
"""

from typing import Any, Final
from urllib.parse import urlsplit

import orjson
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.hosts import is_known, name_of
from app.core.ids import new_id
from app.core.origin import Origin, coming_from
from app.core.tenancy import working_for

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
    "object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
)
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}
_UNSAFE: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_LARGEST_BODY: Final = 1_000_000
#: A form is read letter by letter, in Python: a megabyte of ampersands would keep the server from everything else for most of a second.
_LARGEST_FORM: Final = 100_000
#: Where strangers are asked something: names, passwords and codes. Sixty thousand fields more would take half a second to refuse.
_OF_STRANGERS: Final = ("/api/auth/", "/login", "/register")
_LARGEST_OF_STRANGERS: Final = 20_000


def _problem(status: int, code: str, detail: str) -> Response:
    body = {"type": "about:blank", "title": code, "status": status, "code": code, "detail": detail, "errors": []}
    return Response(orjson.dumps(body), status, media_type="application/problem+json")


def shield(headers: MutableHeaders, scope: Scope) -> None:
    """Give an answer what every answer carries: the security headers and the request's id."""
    for name, value in SECURITY_HEADERS.items():
        headers.setdefault(name, value)
    if request_id := scope.get("state", {}).get("request_id"):
        headers["X-Request-Id"] = request_id
    if scope["scheme"] == "https":
        headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    if scope["path"].startswith("/api"):
        headers.setdefault("Cache-Control", "no-store")


def _plain(client: Any) -> Any:
    """A socket for both shows an IPv4 address as `::ffff:203.0.113.7`; written plainly, it is the same address everywhere."""
    return (client[0].removeprefix("::ffff:"), *client[1:]) if client and "." in client[0] else client


def _origin(scope: Scope) -> Origin:
    client = scope.get("client")
    return Origin(ip_address=client[0] if client else None, user_agent=Headers(scope=scope).get("user-agent"))


class RequestShell:
    """Gives the request an id, nobody yet to work for, and the answer its security headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})["request_id"] = str(new_id())
        scope["client"] = _plain(scope.get("client"))

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                shield(MutableHeaders(scope=message), scope)
            await send(message)

        # Whoever asked before on this connection must not be who this request works for.
        with working_for(None), coming_from(_origin(scope)):
            await self._app(scope, receive, send_with_headers)


class NoTrailingSlash:
    """Sends `/path/` to `/path` for good, keeping method and body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope.get("path", "")
        if scope["type"] == "http" and len(path) > 1 and path.endswith("/"):
            query = scope["query_string"].decode("latin-1")
            # One leading slash only: `//host/` would send the browser to another site.
            target = "/" + path.strip("/") + (f"?{query}" if query else "")
            await RedirectResponse(target, 308)(scope, receive, send)
            return
        await self._app(scope, receive, send)


class HostGuard:
    """Refuses requests to a name that is not ours (`core.hosts`). Alerts may come by any name: their address is their right."""

    def __init__(self, app: ASGIApp, named: frozenset[str]) -> None:
        self._app = app
        self._named = named

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].startswith(("/hooks/", "/healthz", "/readyz")):
            host = Headers(scope=scope).get("host", "")
            if not is_known(host, self._named):
                shown = name_of(host)[:100] or "none"
                words = f"This server does not know itself by the name {shown}. If it is its own, put it into PUBLIC_URL or ALLOWED_HOSTS."
                await _problem(421, "HOST_UNKNOWN", words)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class OriginGuard:
    """Refuses changes that another site's page asks the browser to make. Webhooks and bearer tokens carry no ambient authority."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] in _UNSAFE and not scope["path"].startswith("/hooks/"):
            headers = Headers(scope=scope)
            is_bearer = headers.get("authorization", "").lower().startswith("bearer ")
            if not is_bearer and self._is_foreign(headers):
                await _problem(403, "CSRF_FAILED", "The request came from another site.")(scope, receive, send)
                return
        await self._app(scope, receive, send)

    @staticmethod
    def _is_foreign(headers: Headers) -> bool:
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return True
        origin = headers.get("origin")
        if origin is None:
            return False
        try:
            return urlsplit(origin).netloc != headers.get("host")
        except ValueError:
            return True


class BodyLimit:
    """Stops reading a body that is larger than anything we take. The webhook door has its own, smaller limit."""

    def __init__(self, app: ASGIApp, largest: int = _LARGEST_BODY) -> None:
        self._app = app
        self._largest = largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in _UNSAFE or scope["path"].startswith("/hooks/"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        largest = min(self._largest, _largest_at(scope["path"], headers.get("content-type", "").lower()))
        declared = headers.get("content-length", "0")
        if not declared.isdecimal() or int(declared) > largest:
            await _too_large(largest, scope, receive, send)
            return
        taken = 0
        is_refused = False

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            # The declared length was not kept (chunked transfer): nothing more is handed on, and whoever reads gives up.
            return {"type": "http.disconnect"} if taken > largest else message

        async def answered(message: Message) -> None:
            nonlocal is_refused
            if taken <= largest:
                await send(message)
            elif not is_refused:
                is_refused = True
                await _too_large(largest, scope, receive, send)

        await self._app(scope, counted, answered)


def _largest_at(path: str, kind: str) -> int:
    if path.startswith(_OF_STRANGERS):
        return _LARGEST_OF_STRANGERS
    return _LARGEST_FORM if kind.startswith("application/x-www-form-urlencoded") else _LARGEST_BODY


async def _too_large(largest: int, scope: Scope, receive: Receive, send: Send) -> None:
    await _problem(413, "BODY_TOO_LARGE", f"The body may have at most {largest} bytes.")(scope, receive, send)
