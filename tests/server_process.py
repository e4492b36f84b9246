"""Runs `aristobot serve` as what it is in production: a process of its own. For journeys and benchmarks."""

import re
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.environment import kept_environment
from tests.forked import Forked

ADMIN = "admin"
PASSWORD = "correct horse battery"


class ServerProcess:
    """One server on a free port, with the settings given as environment variables. Use as a context manager.

    Nothing of the caller's own environment that could name a database or a secret reaches it.
    """

    def __init__(self, data_dir: Path, *, start_timeout_s: float = 60.0, **settings: object) -> None:
        self._data_dir = data_dir
        self._start_timeout_s = start_timeout_s
        self._settings = {name.upper(): str(value) for name, value in settings.items()}
        self._process: Forked | None = None
        self.log_path = data_dir / "server.log"
        self.url = ""

    def start(self, *, port: int = 0) -> Self:
        """Start it, on a free port if none is given, and wait until it is ready.

        Raises:
            RuntimeError: it ended or was not ready in time.
        """
        self._data_dir.mkdir(parents=True, exist_ok=True)
        offset = self.log_path.stat().st_size if self.log_path.exists() else 0
        self._process = Forked(("serve", "--port", str(port)), output=self.log_path, environment=self._environment())
        deadline = time.monotonic() + self._start_timeout_s
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"the server ended: {self.log_path.read_text()[-3000:]}")
            if self._is_ready(offset):
                return self
            time.sleep(0.05)
        self.kill()
        raise RuntimeError(f"the server was not ready in time: {self.log_path.read_text()[-3000:]}")

    def _environment(self) -> dict[str, str]:
        # Everybody in a test comes from one address.
        ours = {"DATA_DIR": str(self._data_dir), "ADMIN_USER": ADMIN, "ADMIN_PASSWORD": PASSWORD, "REGISTRATIONS_PER_HOUR": "1000"}
        return kept_environment() | ours | self._settings

    def _is_ready(self, offset: int) -> bool:
        found = re.search(rb"listens on (http://\S+)", self.log_path.read_bytes()[offset:])
        if found is None:
            return False
        self.url = found.group(1).decode()
        try:
            answer = httpx.get(f"{self.url}/readyz", timeout=2, trust_env=False, verify=False)
        except httpx.HTTPError:
            return False
        document: dict[str, Any] = answer.json() if answer.status_code == 200 else {}
        return bool(document.get("is_engine"))

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """`kill -9`: no chance to save anything."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def stop(self) -> None:
        """Ask it to end, and wait; harmless when it has ended already."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def client(self) -> httpx.Client:
        """Return an HTTP client, already open, that is logged in as the administrator with a bearer token."""
        client = httpx.Client(base_url=self.url, timeout=20, trust_env=False, verify=False)
        self.log_in(client)
        return client

    def log_in(self, client: httpx.Client) -> None:
        """Give a client of this server a new bearer token of the administrator."""
        answer = client.post("/api/auth/login", json={"username": ADMIN, "password": PASSWORD})
        answer.raise_for_status()
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
