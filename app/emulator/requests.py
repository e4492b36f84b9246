"""A request as it arrived: raw for the signature, its parameters read once for everything else."""

from dataclasses import dataclass

from aiohttp import web

from app.emulator import params
from app.emulator.errors import VenueError

_CLIENT_IDS = ("newClientOrderId", "listClientOrderId", "origClientOrderId", "cancelOrigClientOrderId")


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A request's parts; its body had been read at `received_ns` (wall time). `ip` may be one that the client claims for a test."""

    method: str
    path: str
    query: str
    body: str
    given: dict[str, str]
    malformed: VenueError | None
    api_key: str | None
    ip: str
    received_ns: int

    @property
    def key(self) -> tuple[str, str]:
        """Method and path."""
        return self.method, self.path

    @property
    def symbol(self) -> str | None:
        """The symbol asked for, if any."""
        return self.given.get("symbol")

    @property
    def client_order_id(self) -> str | None:
        """The client order id it gives or asks for, if any."""
        return next((self.given[name] for name in _CLIENT_IDS if name in self.given), None)


def ip_of(request: web.Request) -> str:
    """Return who counts as the sender: the client's address, or the one it claims in X-Emulated-IP so that a test can be many."""
    return request.headers.get("X-Emulated-IP") or request.remote or ""


def read_request(request: web.Request, raw: bytes, *, received_ns: int) -> Received:
    """Return the parts of a request whose body is `raw`."""
    query, body = request.rel_url.raw_query_string, raw.decode("utf-8", "replace")
    malformed: VenueError | None = None
    given: dict[str, str] = {}
    try:
        given = params.parse(query, body)
    except VenueError as error:
        malformed = error
    headers = request.headers
    return Received(
        method=request.method,
        path=request.path,
        query=query,
        body=body,
        given=given,
        malformed=malformed,
        api_key=headers.get("X-MBX-APIKEY"),
        ip=ip_of(request),
        received_ns=received_ns,
    )
