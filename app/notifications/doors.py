"""The only way to the network for Apprise: its modules are given these in place of `requests` and `smtplib`.

Apprise makes its calls itself, synchronously, wherever an address leads. Each message gets a `Door`, open in the thread that sends it: a
name is looked up once by the rules of `core.outgoing`, the connection goes to an address that was checked and to no other, no redirect is
followed, no proxy or password file of this machine is used, certificates are checked, answers are bounded, and when the time is over every
socket is shut. Without an open door there is no network.
"""

import contextlib
import smtplib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError

from app.core.addresses import Address
from app.core.outgoing import Failure
from app.errors import AppError
from app.notifications.answers import Exchange, of_response, of_smtp

_LARGEST: Final = 200_000
_MOST_CALLS: Final = 12
_CONNECT_S: Final = 5.0
#: What this machine is called is nobody's business, and asking the resolver for it takes time.
_OUR_NAME: Final = "[127.0.0.1]"
_GOODBYE: Final = 221

Lookup = Callable[[str, int, float], list[Address]]


class Door:
    """What one message may do on the network.

    Args:
        lookup: Returns the addresses of (host, port), all of which may be called, within so many seconds; raises `AppError`.
        total_s: After so many seconds all its sockets are shut.
        key: The same for each attempt at the same message: a receiver may know by it that it has had it.
        trusted: A file of certificates to trust; None for the usual ones.
    """

    def __init__(self, lookup: Lookup, *, total_s: float, key: str | None = None, trusted: str | None = None) -> None:
        self._lookup = lookup
        self._until = time.monotonic() + total_s
        self._timer = threading.Timer(total_s, self.shut)
        self._timer.daemon = True
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._is_shut = False
        self._was_late: bool | None = None
        self._calls = 0
        self.key = key
        self.trusted = trusted
        #: The latest answer, or the first bad one; why it was not even asked.
        self.exchange: Exchange | None = None
        self.refusal: AppError | None = None
        self.failure: Failure | None = None

    @property
    def left_s(self) -> float:
        """Seconds left, at least a little: sockets take no nought."""
        return max(self._until - time.monotonic(), 0.01)

    @property
    def is_late(self) -> bool:
        """Whether its time is over, or it was shut; afterwards, whether it was so at the end of the message."""
        return self._was_late if self._was_late is not None else self._is_shut or time.monotonic() >= self._until

    @contextmanager
    def open(self) -> Iterator[None]:
        """Let this thread reach the network through it."""
        self._timer.start()
        token = _PRESENT.set(self)
        try:
            yield
        finally:
            _PRESENT.reset(token)
            self._timer.cancel()
            self._was_late = self.is_late
            self.shut()

    def shut(self) -> None:
        """Shut every socket: whoever waits at one, in whatever thread, is told at once."""
        with self._lock:
            self._is_shut = True
            for one in self._sockets:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            self._sockets.clear()

    def connect(self, host: str, port: int) -> socket.socket:
        """Connect to the first address of `host` that takes a connection.

        Raises:
            OSError: none does, or none may be asked; `refusal` and `failure` say why.
        """
        self._count()
        try:
            addresses = self._lookup(host, port, self.left_s)
        except AppError as error:
            self.refusal = error
            raise OSError("not called") from None
        for address in addresses:
            try:
                connection = socket.create_connection((str(address), port), timeout=min(_CONNECT_S, self.left_s))
            except OSError:
                continue
            connection.settimeout(self.left_s)
            with self._lock:
                self._sockets.append(connection)
            if self._is_shut:
                self.shut()
            return connection
        self.failure = Failure.TOO_SLOW if self.is_late else Failure.UNREACHABLE
        raise OSError("no connection")

    def heard(self, exchange: Exchange) -> None:
        """Keep an answer, unless a worse one is kept already."""
        if self.exchange is None or self.exchange.is_good:
            self.exchange = exchange

    def _count(self) -> None:
        self._calls += 1
        if self._calls > _MOST_CALLS or (self.exchange is not None and self.exchange.is_limited) or self.is_late:
            raise OSError("no more calls")


_PRESENT: Final[ContextVar[Door | None]] = ContextVar("door", default=None)


def _present() -> Door:
    door = _PRESENT.get()
    if door is None:
        raise RuntimeError("Apprise reaches the network through a door only")
    return door


def _new_connection(connection: HTTPConnection) -> socket.socket:
    try:
        return _present().connect(connection.host, connection.port or connection.default_port)
    except OSError as error:
        raise NewConnectionError(connection, str(error)) from None


class _Plain(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _new_connection(self)


class _Secured(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _new_connection(self)


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecuredPool(HTTPSConnectionPool):
    ConnectionCls = _Secured


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecuredPool}


class GuardedSession(requests.Session):
    """A session of `requests` that goes through the present door, whatever it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False
        self.mount("http://", _Adapter())
        self.mount("https://", _Adapter())

    def request(self, method: str, url: str, **given: Any) -> requests.Response:  # type: ignore[override]  # all by name
        """Call, within the door's bounds."""
        door = _present()
        headers = {**(given.pop("headers", None) or {}), "Accept-Encoding": "identity"}
        if door.key is not None:
            headers.setdefault("Idempotency-Key", door.key)
        ours: dict[str, Any] = {
            "timeout": door.left_s,
            "allow_redirects": False,
            "verify": door.trusted or True,
            "proxies": {},
            "cert": None,
            "stream": True,
            "hooks": None,
        }
        try:
            response = super().request(method, url, headers=headers, **{**given, **ours})
            _read(response)
        except requests.exceptions.SSLError:
            door.failure = Failure.UNTRUSTED
            raise
        except (requests.Timeout, requests.ConnectionError):
            door.failure = door.failure or (Failure.TOO_SLOW if door.is_late else Failure.UNREACHABLE)
            raise
        door.heard(of_response(response))
        return response


def _read(response: requests.Response) -> None:
    body = bytearray()
    for part in response.iter_content(8192):
        body += part
        if len(body) > _LARGEST:
            break
    response.close()
    # As `requests` keeps what it has read; there is no other way to give it less than all.
    response._content = bytes(body[:_LARGEST])


class GuardedRequests:
    """Stands for the module `requests`."""

    Session = GuardedSession

    def __getattr__(self, name: str) -> Any:
        if name in ("sessions", "api", "adapters", "session"):
            raise AttributeError(name)
        return getattr(requests, name)

    def request(self, method: str, url: str, **given: Any) -> requests.Response:
        """Call."""
        with GuardedSession() as session:
            return session.request(method, url, **given)

    def get(self, url: str, params: Any = None, **given: Any) -> requests.Response:
        """GET."""
        return self.request("GET", url, params=params, **given)

    def post(self, url: str, data: Any = None, json: Any = None, **given: Any) -> requests.Response:
        """POST."""
        return self.request("POST", url, data=data, json=json, **given)

    def put(self, url: str, data: Any = None, **given: Any) -> requests.Response:
        """PUT."""
        return self.request("PUT", url, data=data, **given)

    def patch(self, url: str, data: Any = None, **given: Any) -> requests.Response:
        """PATCH."""
        return self.request("PATCH", url, data=data, **given)

    def delete(self, url: str, **given: Any) -> requests.Response:
        """DELETE."""
        return self.request("DELETE", url, **given)

    def head(self, url: str, **given: Any) -> requests.Response:
        """HEAD."""
        return self.request("HEAD", url, **given)

    def options(self, url: str, **given: Any) -> requests.Response:
        """OPTIONS."""
        return self.request("OPTIONS", url, **given)


class _Replies:
    """What a mail server says, up to a number of bytes: `smtplib` keeps each line of a reply, and a reply need not end."""

    def __init__(self, connection: socket.socket) -> None:
        self._lines = connection.makefile("rb")
        self._left = _LARGEST

    def readline(self, size: int) -> bytes:
        """Return the next line; too many of them are taken for a broken connection."""
        line = self._lines.readline(size)
        self._left -= len(line)
        if self._left < 0:
            raise OSError("the replies have no end")
        return line

    def close(self) -> None:
        """Read no more."""
        self._lines.close()


class _Mail(smtplib.SMTP):
    def __init__(self, host: str = "", port: int = 0, local_hostname: str | None = None, **given: Any) -> None:
        super().__init__(host, port, local_hostname or _OUR_NAME, **given)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        del timeout
        return _present().connect(host, port)

    def getreply(self) -> tuple[int, bytes]:
        """Read a reply and keep what it says."""
        _bound(self)
        code, words = super().getreply()
        if code != _GOODBYE:
            _present().heard(of_smtp(code, words))
        return code, words


class _SecuredMail(smtplib.SMTP_SSL):
    def __init__(self, host: str = "", port: int = 0, local_hostname: str | None = None, **given: Any) -> None:
        super().__init__(host, port, local_hostname or _OUR_NAME, **given)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        del timeout
        return self.context.wrap_socket(_present().connect(host, port), server_hostname=host)

    def getreply(self) -> tuple[int, bytes]:
        """Read a reply and keep what it says."""
        _bound(self)
        code, words = super().getreply()
        if code != _GOODBYE:
            _present().heard(of_smtp(code, words))
        return code, words


def _bound(mail: Any) -> None:
    """Let a connection's replies be bounded; `smtplib` would open its own reader, and does after STARTTLS."""
    if mail.file is None and mail.sock is not None:
        mail.file = _Replies(mail.sock)


class GuardedMail:
    """Stands for the module `smtplib`."""

    SMTP = _Mail
    SMTP_SSL = _SecuredMail

    def __getattr__(self, name: str) -> Any:
        return getattr(smtplib, name)
