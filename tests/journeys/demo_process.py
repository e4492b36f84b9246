"""Runs `aristobot demo` as a newcomer does, and looks at what it leaves behind."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import psutil

from tests.emulator_process import EmulatorProcess
from tests.environment import kept_environment

#: A demo must not care: with any of these it would meet a real server.
HOSTILE = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing", "JWT_SECRET": "too short", "BINANCE_REST_URL": "http://127.0.0.1:1"}


class DemoProcess:
    """One demo. `facts` is what demo.json says, `said` what stood on the terminal, `took_s` how long the start lasted."""

    def __init__(self, data_dir: Path, *, port: int = 0, arguments: Sequence[str] = ()) -> None:
        self.data_dir = data_dir
        self.summary = data_dir / "demo.json"
        self.port = port
        self._arguments = arguments
        self.facts: dict[str, Any] = {}
        self.said = ""
        self.took_s = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, within_s: float = 60.0) -> Self:
        """Start it and wait for its invitation on the terminal.

        Raises:
            RuntimeError: it ended, or was not ready in time.
        """
        started = time.monotonic()
        command = [sys.executable, "-m", "app.cli", "demo", "--port", str(self.port), "--data-dir", str(self.data_dir)]
        command += self._arguments
        environment = kept_environment() | HOSTILE
        terminal = self.data_dir.parent / "terminal.txt"
        with terminal.open("w") as written:
            self._process = subprocess.Popen(command, env=environment, cwd=self.data_dir.parent, stdout=written, stderr=written)
        while "Ctrl-C" not in (said := terminal.read_text()):
            if self._process.poll() is not None or time.monotonic() - started > within_s:
                self.end()
                raise RuntimeError(f"the demo is not ready after {time.monotonic() - started:.1f} s: {said}")
            time.sleep(0.02)
        self.said = said
        self.took_s = time.monotonic() - started
        self.facts = json.loads(self.summary.read_text())
        return self

    def interrupt(self) -> float:
        """Press Ctrl-C, wait for the end, and return how many seconds it took; an exit code other than 0 fails."""
        assert self._process is not None
        started = time.monotonic()
        self._process.send_signal(signal.SIGINT)
        assert self._process.wait(timeout=30) == 0, (self.data_dir.parent / "terminal.txt").read_text()
        self._process = None
        return time.monotonic() - started

    def kill(self) -> None:
        """`kill -9`: no chance to stop anything."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def processes(self) -> dict[int, str]:
        """Return every process that works in the data directory or names it, with its command."""
        return processes_of(self.data_dir)

    def emulator(self) -> EmulatorProcess:
        """Return a client of the demo's own emulated exchange."""
        client = EmulatorProcess()
        client.url = self.facts["emulator_url"]
        return client

    def end(self) -> None:
        """Leave nothing behind, however the test went."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        for pid in self.processes():
            try:
                psutil.Process(pid).kill()
            except psutil.NoSuchProcess:
                continue


def processes_of(folder: Path) -> dict[int, str]:
    """Return every process that works in `folder` or names it in its command, zombies aside."""
    found: dict[int, str] = {}
    for process in psutil.process_iter(["pid", "status", "cmdline", "cwd"]):
        words = " ".join(process.info["cmdline"] or ())
        is_ours = str(folder) in words or (process.info["cwd"] or "").startswith(str(folder))
        if is_ours and process.info["status"] != psutil.STATUS_ZOMBIE:
            found[process.info["pid"]] = words
    return found
